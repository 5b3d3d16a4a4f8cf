"""For running the APIs under a gunicorn of your own instead of kilonova-api and kilonova-placement:

    KILONOVA_CONFIG=/etc/kilonova/kilonova.conf gunicorn -c gunicorn.conf.py -b 127.0.0.1:8774 \
        kilonova.api.wsgi:application
    KILONOVA_CONFIG=/etc/kilonova/kilonova.conf gunicorn -c gunicorn.conf.py -b 127.0.0.1:8778 \
        kilonova.placement.wsgi:application
"""

worker_class = "gthread"
workers = 2
threads = 8
timeout = 120
graceful_timeout = 8
keepalive = 75
# Each worker opens its own databases and buses: nothing may be opened before the fork.
preload_app = False
