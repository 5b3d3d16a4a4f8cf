"""What of a connection string may be shown."""

import testtools

from kilonova.core.secrets import without_secrets

SHOWN = {
    "rabbit://kilonova:sesame@mq:5672/": "rabbit://kilonova:***@mq:5672/",
    "rabbit://a:sesame@mq1:5672,b:sesame@mq2:5672/v": "rabbit://a:***@mq1:5672,b:***@mq2:5672/v",
    "rabbit://a:sesa@me@mq/": "rabbit://a:***@mq/",
    "mysql+pymysql://root@db/cell": "mysql+pymysql://root@db/cell",
    "mysql+pymysql://u:ses/ame@db/cell?charset=utf8": "mysql+pymysql://u:***@db/cell?charset=utf8",
    "postgresql+psycopg:///cell?host=db&user=u&password=sesame&application_name=x": (
        "postgresql+psycopg:///cell?host=db&user=u&password=***&application_name=x"
    ),
    "mysql+pymysql://db/cell?ssl_key_password=sesame": "mysql+pymysql://db/cell?ssl_key_password=***",
    "sqlite:////var/lib/kilonova/cell1.db": "sqlite:////var/lib/kilonova/cell1.db",
    "memory://": "memory://",
    "nothing": "nothing",
}


class WithoutSecretsTest(testtools.TestCase):
    """Connection string -> what of it is shown."""

    def test_passwords_are_taken_out_and_the_rest_stays(self) -> None:
        for url, shown in SHOWN.items():
            self.assertEqual(shown, without_secrets(url))
