"""Private MariaDB, RabbitMQ and SMTP servers: free ports, data in a temporary folder."""
