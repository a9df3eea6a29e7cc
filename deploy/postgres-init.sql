-- The event store beside Airflow's metadata, on the same server.
create database shop;
