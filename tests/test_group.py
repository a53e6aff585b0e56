# SPDX-License-Identifier: MIT
"""Regions in a directory of a group's own: its members use them together, and nobody else does.

The members are real: children with root's rights given up, each with an own user and the group among its groups.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apart import (
    FILES,
    MEMBER,
    NOBODY,
    OUTSIDER,
    OWNER,
    TEAM,
    Elsewhere,
    Fork,
    Refusals,
    attempts,
    attempts_at,
    become,
    check,
    open_and_use,
    tamper,
    tree,
)
from helpers import Partner, as_root, drain, small

import shmq
from shmq import Region

pytestmark = as_root


@pytest.fixture(scope="module")
def run() -> Iterator[Elsewhere]:
    """Runs a function in another process, as another user."""
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


def member(run: Elsewhere, function: Callable[..., Any], *arguments: Any, uid: int = MEMBER) -> Any:
    """As a member of the group, who has it among his groups and not as his own."""
    return run(function, *arguments, user=uid, groups=(TEAM,))


@pytest.fixture
def team(shmq_dir: Path) -> Iterator[Path]:
    """A directory of the group TEAM's."""
    shmq_dir.chmod(0o711)
    folder = shmq_dir / "team"
    folder.mkdir()
    os.chown(folder, OWNER, TEAM)
    folder.chmod(0o2770)
    yield folder
    left = tree(folder)
    shutil.rmtree(folder)
    assert left == []


def ask(folder: str, umask: int) -> list[bytes]:
    """Makes the region, asks three times, and looks who is there before it says that it is done."""
    os.umask(umask)
    answers = []
    with small(dir=folder, mode=0o660) as region:
        tx, rx = region.sender("questions"), region.receiver("answers")
        for number in range(3):
            tx.send(f"question {number}".encode())
            with rx.receive(timeout=20) as message:
                answers.append(bytes(message))
        assert len(region.processes()) == 2
        tx.send(b"done")
        tx.shutdown()
        answers += [bytes(message) for message in rx]  # until the other has shut its queue down
    return answers


def answer(folder: str, how: str, umask: int) -> list[bytes]:
    """Comes second, answers each question."""
    os.umask(umask)
    questions = []
    with open_second(folder, how) as region:
        tx = region.sender("answers")
        for message in region.receiver("questions"):
            with message:
                questions.append(bytes(message))
            with tx.loan(6, timeout=20) as loan:
                loan.memoryview[:] = b"answer"
        tx.shutdown()
    return questions


def open_second(folder: str, how: str) -> Region:
    if how == "attach":
        return Region.attach("r", dir=folder, mode=0o660, timeout=20)
    Region.attach("r", dir=folder, mode=0o660, timeout=20).close()
    return shmq.open("r", dir=folder, mode=0o660)


def talk_to_each_other(folder: str, how: str, umask: int, one: int, other: int) -> tuple[list[bytes], list[bytes]]:
    first = Fork(ask, folder, umask, user=one, groups=(TEAM,))
    second = Fork(answer, folder, how, umask, user=other, groups=(TEAM,))
    return first.result(), second.result()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("how", ["open", "attach"])
@pytest.mark.parametrize(("one", "other"), [(OWNER, MEMBER), (MEMBER, OWNER), (MEMBER, OUTSIDER)])
def test_members_of_a_group_talk_both_ways_whoever_makes_the_region(
    team: Path, run: Elsewhere, how: str, one: int, other: int, umask: int
) -> None:
    """The directory's owner need be neither of them; the third is a member here, whatever it is called elsewhere."""
    answers, questions = run(talk_to_each_other, str(team), how, umask, one, other)
    assert answers == [b"answer"] * 4
    assert questions == [b"question 0", b"question 1", b"question 2", b"done"]


def speak(link: Any, function: Callable[..., Any], uid: int, folder: str) -> Any:
    """For a Partner: a member that is told what to do."""
    become(uid, TEAM)
    return function(link, folder)


def keep(link: Any, folder: str) -> tuple[bytes, bool]:
    with small(dir=folder, mode=0o660) as region:
        receiver = region.receiver("q", shared=True)
        region.sender("q").send(b"work")
        link.send("sent")
        link.recv()
        with receiver.receive(timeout=20) as message:
            return bytes(message), message.redelivered


def hold(link: Any, folder: str) -> None:
    region = Region.attach("r", dir=folder, mode=0o660)
    message = region.receiver("q", shared=True).receive(timeout=20)
    link.send(bytes(message))
    link.recv()


def test_what_a_killed_member_held_goes_to_another_member(team: Path, start: Callable[..., Any]) -> None:
    keeper = Partner(start, speak, keep, OWNER, str(team))
    assert keeper.hear() == "sent"
    holder = Partner(start, speak, hold, MEMBER, str(team))
    assert holder.hear() == b"work"
    holder.kill()
    keeper.say("it is dead")
    assert keeper.result() == (b"work", True)


def die_attached(link: Any, folder: str) -> None:
    region = small(dir=folder, mode=0o660)
    link.send(region.name)
    link.recv()


def look_around(folder: str) -> tuple[list[str], list[str]]:
    return [info.name for info in shmq.list_regions(folder)], os.listdir(folder)


def test_what_a_killed_member_left_another_member_sweeps(team: Path, run: Elsewhere, start: Callable[..., Any]) -> None:
    dead = Partner(start, speak, die_attached, OWNER, str(team))
    assert dead.hear() == "r"
    assert member(run, look_around, str(team)) == (["r"], ["r"])
    dead.kill()
    assert member(run, look_around, str(team)) == ([], [])


def make_shared(folder: str, umask: int = 0o022) -> list[tuple[str, int, int, int, int]]:
    os.umask(umask)
    small(persist=True, dir=folder, mode=0o660).close()
    return tree(Path(folder))


def list_and_unlink(folder: str) -> tuple[list[str], None]:
    return [info.name for info in shmq.list_regions(folder)], shmq.unlink("r", dir=folder)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o177])
@pytest.mark.parametrize("mode", [0o2770, 0o770])
def test_files_are_for_the_group_only_whatever_the_umask(team: Path, run: Elsewhere, mode: int, umask: int) -> None:
    """And whether the directory hands its group on or not."""
    team.chmod(mode)
    found = member(run, make_shared, str(team), umask)
    assert {(Path(path).name, mode, uid, gid) for path, mode, uid, gid, _ in found} == {
        ("r", stat.S_IFDIR | 0o770, MEMBER, TEAM),
        *((name, stat.S_IFREG | 0o660, MEMBER, TEAM) for name in FILES),
    }
    assert member(run, list_and_unlink, str(team), uid=OWNER) == (["r"], None)


def test_who_is_not_in_the_group_is_kept_out_and_told_by_whom(team: Path, run: Elsewhere) -> None:
    member(run, make_shared, str(team))
    before = tree(team)
    for mode in (0o600, 0o660):
        found = run(attempts_at, str(team), mode, user=OUTSIDER, groups=(MEMBER,))
        ways = ("open", "create", "attach") if mode == 0o660 else ("list", "unlink")
        check(
            found,
            "RegionPermissionError",
            f"{team}: permission denied",
            f"uid {OWNER}, gid {TEAM}, mode 0o2770",
            f"you are uid {OUTSIDER}, gid {OUTSIDER} and of the groups {MEMBER}",
            "run as the owner, or be in its group (and say mode=0o660 with dir=, in every process)",
            ways=ways,
        )
        assert "nothing" not in {kind for kind, _ in found.values()}
    assert run(tamper_with_team, team, user=OUTSIDER) == []
    assert tree(team) == before
    assert member(run, list_and_unlink, str(team)) == (["r"], None)


def tamper_with_team(team: Path) -> list[str]:
    allowed = tamper(team, os.getppid(), 0)
    return [what for what in allowed if not what.startswith("kill")]


def test_who_does_not_say_that_the_group_is_trusted_does_not_trust_it(team: Path, run: Elsewhere) -> None:
    """Neither its directory nor its regions, though they may be one's own; and the error says how to."""
    for uid in (OWNER, MEMBER):
        member(run, make_shared, str(team), uid=uid)
        ways = ("open", "create", "attach")
        found = member(run, attempts_at, str(team), uid=OWNER)
        check(found, "RegionSecurityError", f"{team}: mode: found 0o2770, expected 0o2700", "mode=0o660", ways=ways)
        assert found["list"][0] == found["unlink"][0] == "nothing"  # dir= alone says it there
        member(run, make_shared, str(team), uid=uid)
        found = member(run, attempts_at, str(team), uid=MEMBER)
        check(found, "RegionSecurityError", f"{team}: owner: found {OWNER}, expected {MEMBER}", "mode=0o660", ways=ways)
        assert found["unlink"] == ("nothing", "None")


@pytest.mark.parametrize("group", [OUTSIDER, NOBODY])
def test_a_directory_of_a_group_that_one_is_not_in_is_refused_even_by_root(team: Path, group: int) -> None:
    """Root could open it; but whoever put it there chose the group."""
    os.chown(team, OWNER, group)
    team.chmod(0o2770)
    check(
        attempts(dir=str(team), mode=0o660),
        "RegionSecurityError",
        f"{team}: group of the directory: found {group}, expected 0",
        f"uid {OWNER}, gid {group}",
        "chgrp",
    )
    assert tree(team) == []
    os.chown(team, 0, group)  # one's own: then one has chosen it oneself
    assert open_and_use(str(team), "r", mode=0o660) == [b"hello"]


@pytest.mark.parametrize(
    ("mode", "expected", "remedy"),
    [
        (0o3770, 0o2770, "members could not remove each other's regions: take the sticky bit away (chmod -t)"),
        (0o1770, 0o770, "chmod -t"),
        (0o2777, 0o2770, "chmod 2770"),
        (0o2775, 0o2770, "chmod 2770"),
        (0o2771, 0o2770, "chmod 2770"),
        (0o1777, 0o770, "chmod 770"),
    ],
)
def test_a_groups_directory_with_other_rights_is_refused(
    team: Path, run: Elsewhere, mode: int, expected: int, remedy: str
) -> None:
    team.chmod(mode)
    found = member(run, attempts_at, str(team), 0o660)
    check(found, "RegionSecurityError", f"{team}: mode: found {mode:#o}, expected {expected:#o}", remedy)


@pytest.mark.parametrize("mode", [0o700, 0o2700, 0o2710, 0o2740])
def test_a_directory_that_keeps_its_group_out_shares_nothing_and_says_so(team: Path, run: Elsewhere, mode: int) -> None:
    team.chmod(mode)
    found = member(run, attempts_at, str(team), 0o660, uid=OWNER)
    text = f"{team} belongs to uid {OWNER}, gid {TEAM}, mode {mode:#o}"
    check(found, "RegionPermissionError", text, "chmod 2770", ways=("open", "create", "attach"))


def test_a_groups_directory_is_not_made(shmq_dir: Path, run: Elsewhere) -> None:
    """Else it would be the group of whoever comes first."""
    shmq_dir.chmod(0o777)
    found = member(run, attempts_at, str(shmq_dir / "none"), 0o660)
    check(
        found,
        "RegionNotFoundError",
        f"there is no directory {shmq_dir}/none",
        f"chgrp GROUP {shmq_dir}/none; chmod 2770 {shmq_dir}/none",
        ways=("open", "create", "attach"),
    )
    assert not (shmq_dir / "none").exists()


def spoil_group(path: Path) -> str:
    os.chown(path, MEMBER, MEMBER)
    return f"group: found {MEMBER}, expected {TEAM}"


def spoil_mode(path: Path) -> str:
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | 0o7)
    return f"mode: found {mode | 0o7:#o}, expected {mode:#o}"


def spoil_kind(path: Path) -> str:
    if path.is_dir():
        path.rename(path.with_name(".moved"))
        path.symlink_to(".moved")
        return "file type: found a symbolic link, expected a directory"
    path.unlink()
    os.mkfifo(path, 0o660)
    os.chown(path, MEMBER, TEAM)
    return "file type: found a FIFO, expected a plain file"


@pytest.mark.parametrize("file", ["", *FILES])
@pytest.mark.parametrize("spoil", [spoil_group, spoil_mode, spoil_kind])
def test_what_is_not_the_groups_alone_is_refused_in_its_directory(
    team: Path, run: Elsewhere, file: str, spoil: Callable[[Path], str]
) -> None:
    member(run, make_shared, str(team))
    path = team / "r" / file if file else team / "r"
    text = spoil(path)
    found = member(run, attempts_at, str(team), 0o660, uid=OWNER)
    ways = ("open", "attach") if file == "data" else ("open", "create", "attach")  # who makes one looks at no data
    check(found, "RegionSecurityError", f"{path}: {text}", ways=ways)
    for rest in team.iterdir():
        shutil.rmtree(rest) if rest.is_dir() and not rest.is_symlink() else rest.unlink()


def test_what_a_member_keeps_to_himself_is_a_permission_error_that_names_him(team: Path, run: Elsewhere) -> None:
    member(run, make_shared, str(team))
    (team / "r").chmod(0o700)
    found = member(run, attempts_at, str(team), 0o660, uid=OWNER)
    text = f"{team}/r: permission denied (open): it belongs to uid {MEMBER}, gid {TEAM}, mode 0o700"
    remedy = "ask its owner to give the group the right (chmod g+rwx)"
    ways = ("open", "create", "attach", "unlink")
    check(found, "RegionPermissionError", text, f"you are uid {OWNER}", remedy, ways=ways)
    (team / "r").chmod(0o770)
    (team / "r" / "data").chmod(0o600)
    found = member(run, attempts_at, str(team), 0o660, uid=OWNER)
    text = f"{team}/r/data: permission denied (open): it belongs to uid {MEMBER}, gid {TEAM}, mode 0o600"
    remedy = "ask its owner to give the group the right (chmod g+rw)"
    check(found, "RegionPermissionError", text, remedy, ways=("open", "attach"))
    assert found["unlink"] == ("nothing", "None")  # the directory is the group's


def test_members_that_may_not_write_the_directory_attach_but_make_nothing(team: Path, run: Elsewhere) -> None:
    team.chmod(0o2750)
    found = member(run, attempts_at, str(team), 0o660)
    text = f"{team}: permission denied (mkdir): it belongs to uid {OWNER}, gid {TEAM}, mode 0o2750"
    remedy = "ask its owner to give the group the right (chmod g+rwx)"
    check(found, "RegionPermissionError", text, f"you are uid {MEMBER}", remedy, ways=("open", "create"))
    check(found, "RegionNotFoundError", ways=("attach", "unlink"))
    member(run, make_shared, str(team), uid=OWNER)
    assert member(run, attach_and_use, str(team)) == [b"hello"]
    assert member(run, list_and_unlink, str(team), uid=OWNER) == (["r"], None)


def attach_and_use(folder: str) -> list[bytes]:
    with Region.attach("r", dir=folder, mode=0o660) as region:
        region.sender("q").send(b"hello")
        return drain(region.receiver("q"))


def end_as_the_last(link: Any, folder: str) -> Refusals:
    """Closes last, may remove the files but not the region's directory, and meets it again."""
    with Region.attach("r", dir=folder, mode=0o660):
        link.send("attached")
        link.recv()
    return attempts_at(folder, 0o660)


def make_and_leave(link: Any, folder: str) -> None:
    with small(dir=folder, mode=0o660):
        link.send("made")
        link.recv()


def test_what_a_member_cannot_remove_is_told_and_goes_with_the_next_who_can(
    team: Path, run: Elsewhere, start: Callable[..., Any]
) -> None:
    team.chmod(0o2750)
    owner = Partner(start, speak, make_and_leave, OWNER, str(team))
    assert owner.hear() == "made"
    last = Partner(start, speak, end_as_the_last, MEMBER, str(team))
    assert last.hear() == "attached"
    owner.say("leave")
    assert owner.result() is None
    last.say("leave")
    found = last.result()
    assert os.listdir(team) == ["r"]  # empty
    assert os.listdir(team / "r") == []
    check(found, "RegionNotFoundError", "there is no region 'r'", ways=("attach",))
    text = f"{team}/r: permission denied (unlink): its directory belongs to uid {OWNER}, gid {TEAM}, mode 0o2750"
    check(found, "RegionPermissionError", text, ways=("open", "create", "unlink"))
    assert found["list"] == ("nothing", "[]")
    assert member(run, open_shared, str(team), uid=OWNER) == [b"hello"]


def open_shared(folder: str) -> list[bytes]:
    return open_and_use(folder, "r", mode=0o660)
