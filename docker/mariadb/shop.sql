-- The database that specs/user_profile.yaml reads; the one named in MARIADB_DATABASE is the catalog's.
CREATE DATABASE IF NOT EXISTS shop;
GRANT ALL ON shop.* TO 'millrace'@'%';
