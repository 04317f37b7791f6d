"""The audit log: who changed what, and the chain of hashes that shows tampering."""

from bookstore.audit import chain
from bookstore.audit.log import ADDRESS, record, record_many
