# Two accounts, as in docs/operating.md.  The MariaDB image sources this file once, when it creates its
# data, and defines the function.  `bookstore db upgrade --grant` gives the store's account its
# privileges once there are tables.
docker_process_sql <<SQL
CREATE USER bookstore_maker@'%' IDENTIFIED BY '$MAKER_PASSWORD';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES, DROP
  ON \`$MARIADB_DATABASE\`.* TO bookstore_maker@'%' WITH GRANT OPTION;
CREATE USER bookstore@'%' IDENTIFIED BY '$STORE_PASSWORD';
SQL
