"""Run by Alembic on the connection that `nightshift.store.schema` hands it."""

from alembic import context

from nightshift.store.models import Base
from nightshift.store.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_schemas=True,
    **VERSION_TABLE,  # type: ignore[arg-type]
)
with context.begin_transaction():
    context.run_migrations()
