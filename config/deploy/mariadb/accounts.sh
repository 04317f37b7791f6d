# Two accounts, as docs/operating.md has them.  The image of MariaDB reads this file once, when it
# makes its data, and knows the function; `bookstore db upgrade --grant` gives the store's account
# its rights when there are tables.
docker_process_sql <<SQL
CREATE USER bookstore_maker@'%' IDENTIFIED BY '$MAKER_PASSWORD';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES, DROP
  ON \`$MARIADB_DATABASE\`.* TO bookstore_maker@'%' WITH GRANT OPTION;
CREATE USER bookstore@'%' IDENTIFIED BY '$STORE_PASSWORD';
SQL
