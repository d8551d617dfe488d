"""Who may see and do what: owners, the daemon's user, root, operators by group or by name, and everybody else."""

from __future__ import annotations

import grp
import os
import pwd

import pytest
from support.fake_pool import Clock

from cryobridge.bridge.daemon.rights import KNOWN_FOR_S, Rights, SystemAccounts
from cryobridge.schemas.errors import InputInvalid, JobRejected

SERVICE, OPERATOR, BY_NAME, USER, OTHER = 900, 1001, 1002, 1003, 1004
ROOT = 0


class MadeUpAccounts:
    """A group `em-staff` with one member, and a user `bob`."""

    def __init__(self) -> None:
        self.members = {OPERATOR}
        self.groups = {"em-staff": 50}
        self.asked = 0

    def group(self, name: str) -> int | None:
        return self.groups.get(name)

    def user(self, name: str) -> int | None:
        return BY_NAME if name == "bob" else None

    def groups_of(self, uid: int) -> frozenset[int]:
        self.asked += 1
        return frozenset({50, 7} if uid in self.members else {7})


@pytest.fixture
def accounts() -> MadeUpAccounts:
    return MadeUpAccounts()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rights(accounts: MadeUpAccounts, clock: Clock) -> Rights:
    return Rights(["em-staff", "bob"], SERVICE, clock, accounts)


def test_owners_see_their_own_and_operators_everything(rights: Rights) -> None:
    sees = {uid: (rights.sees(uid, USER), rights.sees(uid, OTHER)) for uid in (USER, OTHER)}
    assert sees == {USER: (True, False), OTHER: (False, True)}
    for uid in (ROOT, SERVICE, OPERATOR, BY_NAME):
        assert rights.sees(uid, USER)
        rights.check_operates(uid)


def test_others_may_neither_operate_nor_own(rights: Rights) -> None:
    with pytest.raises(JobRejected, match="operators"):
        rights.check_operates(USER)
    with pytest.raises(JobRejected, match="the daemon's user and root"):
        rights.check_owns(USER)


def test_what_makes_the_daemon_open_paths_or_end_is_not_for_operators(rights: Rights) -> None:
    for uid in (OPERATOR, BY_NAME):
        with pytest.raises(JobRejected):
            rights.check_owns(uid)
    for uid in (ROOT, SERVICE):
        rights.check_owns(uid)


def test_where_no_operators_are_named_nobody_is_one_and_the_database_is_not_asked(accounts: MadeUpAccounts) -> None:
    rights = Rights([], SERVICE, accounts=accounts)
    assert [rights.operates(uid) for uid in (ROOT, SERVICE, OPERATOR)] == [True, True, False]
    assert accounts.asked == 0


def test_who_leaves_the_group_has_his_rights_for_a_few_seconds_more(
    rights: Rights, accounts: MadeUpAccounts, clock: Clock
) -> None:
    assert rights.operates(OPERATOR)
    accounts.members = {USER}
    assert rights.operates(OPERATOR)
    assert accounts.asked == 1
    clock.now += KNOWN_FOR_S
    assert not rights.operates(OPERATOR)
    assert rights.operates(USER)


def test_a_group_that_is_removed_while_the_daemon_runs_gives_nobody_rights(
    rights: Rights, accounts: MadeUpAccounts, clock: Clock
) -> None:
    del accounts.groups["em-staff"]
    assert not rights.operates(OPERATOR)
    assert rights.operates(BY_NAME)


def test_a_group_that_does_not_exist_is_said_in_one_sentence(accounts: MadeUpAccounts) -> None:
    with pytest.raises(InputInvalid, match="operators: there is no group or user 'em-stuff' on this machine"):
        Rights(["bob", "em-stuff"], SERVICE, accounts=accounts)


def test_the_system_knows_this_user_his_groups_and_no_others() -> None:
    accounts, me = SystemAccounts(), pwd.getpwuid(os.getuid())
    assert accounts.user(me.pw_name) == me.pw_uid
    assert accounts.group(grp.getgrgid(me.pw_gid).gr_name) == me.pw_gid
    assert me.pw_gid in accounts.groups_of(me.pw_uid)
    assert (accounts.user("nobody-of-this-name"), accounts.group("no-group")) == (None, None)
    assert accounts.groups_of(2**31 - 7) == frozenset()
