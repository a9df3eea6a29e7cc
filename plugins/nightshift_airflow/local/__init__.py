"""Airflow on one machine: everything under the project's home folder, loopback only."""
