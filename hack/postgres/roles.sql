-- The roles and the database that the migrations expect. Safe to run again.
-- psql variables: owner_password, worker_password, gateway_password.
-- The owner makes the tables and grants on them; worker and gateway only use them.
SELECT format('CREATE ROLE %I LOGIN', role)
FROM unnest(ARRAY['parley_owner', 'parley_worker', 'parley_gateway']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec
ALTER ROLE parley_owner PASSWORD :'owner_password';
ALTER ROLE parley_worker PASSWORD :'worker_password';
ALTER ROLE parley_gateway PASSWORD :'gateway_password';
-- The migrations set time limits on the two roles (ALTER ROLE … SET).
ALTER ROLE parley_owner CREATEROLE;
SELECT format('GRANT %I TO parley_owner WITH ADMIN OPTION', role)
FROM unnest(ARRAY['parley_worker', 'parley_gateway']) AS role
\gexec
SELECT 'CREATE DATABASE parley OWNER parley_owner'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'parley')
\gexec
REVOKE ALL ON DATABASE parley FROM PUBLIC;
GRANT CONNECT ON DATABASE parley TO parley_worker, parley_gateway;
