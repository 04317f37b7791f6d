from bookstore.catalogue.validation import ROLES
from bookstore.imports.onix import code_lists


def test_every_contributor_role_is_a_role_of_the_store():
    roles = {role for roles in code_lists.ROLES.values() for role in roles}

    assert roles | {*code_lists.OTHER_ROLE} <= {*ROLES}
