"""The audit log: who changed what, and the hash chain that reveals tampering."""

from bookstore.audit import chain
from bookstore.audit.actions import AuditAction
from bookstore.audit.log import ADDRESS, record, record_many
