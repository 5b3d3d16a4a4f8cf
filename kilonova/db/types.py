"""Column types that mean the same on SQLite, MariaDB and PostgreSQL."""

from sqlalchemy import BigInteger, DateTime, Integer, LargeBinary, String, Text
from sqlalchemy.dialects import mysql, postgresql

Uuid = (
    String(36)
    .with_variant(mysql.CHAR(36, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    .with_variant(postgresql.VARCHAR(36, collation="C"), "postgresql")
)
"""A UUID as its 36 characters, as every API shows it. Not ``ascii`` on MariaDB, which refuses to compare
such a column with a text that has other characters, instead of finding nothing."""

Name = (
    String(255)
    .with_variant(
        mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )
    .with_variant(postgresql.VARCHAR(255, collation="C"), "postgresql")
)
"""A name: compared and sorted by its characters' numbers on every database, as Python does."""

Moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
"""A time in UTC, to the microsecond."""

Json = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
"""A msgspec JSON document, kept as bytes: it is written and read whole, never searched."""

LongText = (
    Text()
    .with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    .with_variant(postgresql.TEXT(collation="C"), "postgresql")
)
"""A text of any length, compared and sorted as ``Name`` is."""

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""An autoincremented key (SQLite increments only INTEGER)."""
