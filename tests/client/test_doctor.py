"""What ``offboard doctor`` says of a computer, and of a way that was measured: by folders and figures alone."""

import os
import random
import socket
import struct
import sys
from dataclasses import replace

import pytest
from offboard_client.doctor import (
    Computer,
    Connection,
    Files,
    Sent,
    Survey,
    ahead,
    ask_command,
    interface_to,
    look_at_computer,
    look_at_connection,
    look_at_gpu,
    look_at_interface,
    look_at_jpeg,
    look_at_kernel,
    look_at_way,
    rate_of,
    segments,
)
from offboard_client.session import Steps, Tried

CPU = "sys/devices/system/cpu"
IPV4 = "proc/sys/net/ipv4/tcp"
NOBODY = lambda words: None  # noqa: E731


@pytest.fixture
def files(tmp_path):
    """Makes a root that holds these texts."""

    def make(texts):
        for path, text in texts.items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return Files(tmp_path)

    return make


def only(findings, what):
    """The verdict and the text of one finding."""
    found = {each.what: each for each in findings}
    assert what in found, sorted(found)
    return found[what]


def computer(files, **settings):
    known = {"environment": {}, "usable": 4, "synchronised": lambda: True}
    return Computer(files=files, **{**known, **settings})


def judged(files, what, **settings):
    return only(look_at_computer(computer(files, **settings)), what)


# -- the computer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("synchronised", "verdict"), [(True, "fine"), (False, "mend"), (None, "unknown")])
def test_a_clock_that_nobody_sets_is_told(files, synchronised, verdict):
    found = judged(files({}), "clock", synchronised=lambda: synchronised)
    assert found.verdict == verdict
    assert bool(found.command) == (verdict == "mend")


@pytest.mark.parametrize(
    ("governor", "driver", "verdict"),
    [
        ("powersave", "acpi-cpufreq", "mend"),
        ("powersave", "cpufreq-dt", "mend"),
        ("powersave", "intel_pstate", "fine"),
        ("powersave", "amd-pstate-epp", "fine"),
        ("performance", "acpi-cpufreq", "fine"),
        ("schedutil", "cpufreq-dt", "fine"),
        (None, None, "unknown"),
    ],
)
def test_powersave_is_the_lowest_frequency_but_for_drivers_that_choose_themselves(files, governor, driver, verdict):
    folder = f"{CPU}/cpu3/cpufreq"
    texts = {f"{folder}/scaling_governor": f"{governor}\n", f"{folder}/scaling_driver": f"{driver}\n"}
    found = judged(files(texts if governor else {}), "processors' frequency")
    assert found.verdict == verdict
    if verdict == "mend":
        assert "scaling_governor" in found.command


def test_processors_that_are_off_or_not_this_processs_are_told(files):
    texts = {f"{CPU}/present": "0-5\n", f"{CPU}/online": "0-1,4-5\n"}
    assert judged(files(texts), "processors").verdict == "mend"
    for said, verdict in (("off", "note"), ("forceoff", "note"), ("on", "mend"), ("notsupported", "mend")):
        found = judged(files({**texts, f"{CPU}/smt/control": f"{said}\n"}), "processors")
        assert (found.verdict, bool(found.command)) == (verdict, verdict == "mend")
    texts[f"{CPU}/smt/control"] = "on\n"
    texts[f"{CPU}/online"] = "0-5\n"
    assert judged(files(texts), "processors").verdict == "note", "bound to 4 of 6"
    assert judged(files(texts), "processors", usable=6).verdict == "fine"
    assert judged(files(texts), "processors", usable=None).verdict == "unknown"


CGROUP2 = {"proc/self/cgroup": "0::/docker/abc\n"}
CGROUP1 = {"proc/self/cgroup": "5:cpuset:/\n3:cpu,cpuacct:/box\n2:memory:/box\n"}


@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        ({**CGROUP2, "sys/fs/cgroup/docker/abc/cpu.max": "150000 100000\n"}, "note"),
        # A container sees its own folder as the root, whatever it is called outside.
        ({**CGROUP2, "sys/fs/cgroup/cpu.max": "150000 100000\n"}, "note"),
        (
            {
                **CGROUP2,
                "sys/fs/cgroup/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/cpu.stat": "nr_periods 9\nnr_throttled 7\n",
            },
            "mend",
        ),
        # Within another one, which is the tighter, and was felt.
        (
            {
                **CGROUP2,
                "sys/fs/cgroup/docker/abc/cpu.max": "800000 100000\n",
                "sys/fs/cgroup/docker/abc/cpu.stat": "nr_throttled 0\n",
                "sys/fs/cgroup/docker/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/docker/cpu.stat": "nr_throttled 9\n",
            },
            "mend",
        ),
        ({**CGROUP2, "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (
            {
                **CGROUP1,
                "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
            },
            "note",
        ),
        (
            {
                **CGROUP1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({}, None),
    ],
)
def test_a_containers_limit_is_told_and_that_it_was_felt(files, texts, verdict):
    found = {each.what: each for each in look_at_computer(computer(files(texts)))}
    limit = found.get("container's limit")
    assert (limit and limit.verdict) == verdict
    if limit is not None:
        assert limit.found.startswith("1.5 processors' time")
        # Libraries count the processors and not the time.
        assert found["threads of libraries"].command == "export OMP_NUM_THREADS=1"


@pytest.mark.parametrize(
    ("environment", "usable", "verdict"),
    [
        ({}, 4, "fine"),
        ({"OMP_NUM_THREADS": "4"}, 4, "fine"),
        ({"OMP_NUM_THREADS": "8"}, 4, "mend"),
        ({"OMP_NUM_THREADS": "8,2"}, 4, "mend"),
        ({"MKL_NUM_THREADS": "8", "OMP_NUM_THREADS": "1"}, 4, "mend"),
        ({"OMP_NUM_THREADS": "9", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "8"}, 4, "mend"),
        ({"OMP_NUM_THREADS": "many"}, 4, "fine"),
        ({}, None, "unknown"),
    ],
)
def test_more_threads_than_processors_are_told(files, environment, usable, verdict):
    found = judged(files({}), "threads of libraries", environment=environment, usable=usable)
    assert found.verdict == verdict
    if verdict == "mend":  # who types it is told nothing the next time, and what was less is left
        typed = dict(line.removeprefix("export ").split("=") for line in found.command.splitlines())
        assert set(typed) == {name for name, value in environment.items() if value != "1"}
        mended = {**environment, **typed}
        again = judged(files({}), "threads of libraries", environment=mended, usable=usable)
        assert again.verdict == "fine"


@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        ({"proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable:    4000000 kB\n"}, "fine"),
        ({"proc/meminfo": "MemAvailable:    100000 kB\n"}, "mend"),
        (
            {
                **CGROUP2,
                "proc/meminfo": "MemAvailable: 4000000 kB\n",
                "sys/fs/cgroup/memory.max": "1000000000\n",
                "sys/fs/cgroup/memory.current": "990000000\n",
            },
            "mend",
        ),
        (
            {
                **CGROUP1,
                "proc/meminfo": "MemAvailable: 4000000 kB\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "1000000000\n",
                "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "990000000\n",
            },
            "mend",
        ),
        # What was read of files is there to be forgotten.
        (
            {
                **CGROUP2,
                "sys/fs/cgroup/memory.max": "1000000000\n",
                "sys/fs/cgroup/memory.current": "990000000\n",
                "sys/fs/cgroup/memory.stat": "anon 20000000\nfile 970000000\ninactive_file 900000000\n",
            },
            "fine",
        ),
        (
            {
                **CGROUP1,
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "1000000000\n",
                "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "990000000\n",
                "sys/fs/cgroup/memory/box/memory.stat": "inactive_file 0\ntotal_inactive_file 900000000\n",
            },
            "fine",
        ),
        ({**CGROUP2, "sys/fs/cgroup/memory.max": "max\n", "proc/meminfo": "MemAvailable: 4000000 kB\n"}, "fine"),
        ({}, "unknown"),
    ],
)
def test_memory_that_ends_is_told_the_containers_too(files, texts, verdict):
    assert judged(files(texts), "memory").verdict == verdict


def test_heat_is_told_where_the_processor_counts_it(files):
    count = f"{CPU}/cpu0/thermal_throttle/core_throttle_count"
    assert "heat" not in {each.what for each in look_at_computer(computer(files({})))}
    assert judged(files({count: "0\n"}), "heat").verdict == "fine"
    assert judged(files({count: "12\n"}), "heat").verdict == "note", "nobody knows when"


def test_nothing_is_known_of_a_system_that_says_nothing_and_that_is_no_error(files):
    nothing = files({})
    said = [
        *look_at_computer(computer(nothing, usable=None, synchronised=lambda: None)),
        *look_at_kernel(nothing),
        *look_at_interface(nothing, interface_to(nothing, "192.0.2.1"), NOBODY),
        *look_at_gpu(nothing, NOBODY),
    ]
    assert {each.verdict for each in said} == {"unknown"}
    assert all(each.found.startswith("not known here") for each in said)


def test_files_that_hold_anything_are_not_believed(files):
    """Whatever the kernel, or what stands for it, says: no finding raises."""
    chance = random.Random(0)
    paths = [
        "proc/meminfo", "proc/self/cgroup", "proc/net/route", "proc/net/ipv6_route", "proc/net/wireless",
        f"{IPV4}_wmem", f"{IPV4}_slow_start_after_idle", f"{IPV4}_congestion_control", f"{CPU}/online",
        f"{CPU}/present",
        f"{CPU}/cpu0/cpufreq/scaling_governor", "sys/class/net/eth0/speed", "sys/class/net/eth0/mtu",
        "sys/fs/cgroup/cpu.max", "sys/fs/cgroup/cpu.stat", "sys/fs/cgroup/memory.max",
    ]  # fmt: skip
    for _ in range(50):
        texts = {path: "".join(chance.choices("0123456789abcdef: ,-\n\t:\x00ä", k=60)) for path in paths}
        root = files(texts)
        assert list(look_at_computer(computer(root)))
        assert list(look_at_kernel(root, measured()))
        interface_to(root, "192.0.2.1")
        interface_to(root, "2001:db8::1")
        assert list(look_at_interface(root, "eth0", NOBODY))


# -- the interface ---------------------------------------------------------------------------------------------


def route(name, network, mask, metric=0):
    numbers = [f"{struct.unpack('=I', socket.inet_aton(each))[0]:08X}" for each in (network, "0.0.0.0", mask)]
    return f"{name}\t{numbers[0]}\t{numbers[1]}\t0003\t0\t0\t{metric}\t{numbers[2]}\t0\t0\t0\n"


ROUTES = "Iface\tDestination\n" + "".join(
    (
        route("wlan0", "0.0.0.0", "0.0.0.0", 600),
        route("eth0", "0.0.0.0", "0.0.0.0", 100),
        route("eth1", "192.168.7.0", "255.255.255.0"),
        route("tun0", "192.168.0.0", "255.255.0.0"),
    )
)
ROUTES6 = (
    "20010db8000700000000000000000000 40 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth1\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n"
)


@pytest.mark.parametrize(
    ("peer", "local", "name"),
    [
        ("192.168.7.20", None, "eth1"),
        ("192.168.9.20", None, "tun0"),
        ("203.0.113.9", None, "eth0"),
        ("::ffff:192.168.7.20", None, "eth1"),
        ("127.0.0.1", "127.0.0.1", "lo"),
        ("192.168.7.4", "192.168.7.4", "lo"),
        ("2001:db8:7::5", None, "eth1"),
        ("2001:db8:8::5", None, "eth0"),
        ("::1", None, "lo"),
        (None, None, "eth0"),
        ("no address", None, None),
    ],
)
def test_the_interface_is_the_one_that_leads_there(files, peer, local, name):
    root = files({"proc/net/route": ROUTES, "proc/net/ipv6_route": ROUTES6})
    assert interface_to(root, peer, local) == name


@pytest.mark.parametrize(
    ("speed", "duplex", "verdict"),
    [
        ("1000", "full", "fine"),
        ("2500", "full", "fine"),
        ("100", "full", "mend"),
        ("1000", "half", "mend"),
        ("-1", "unknown", "unknown"),
        (None, None, "unknown"),
    ],
)
def test_a_slow_cable_is_told_with_what_it_costs(files, speed, duplex, verdict):
    texts = {"sys/class/net/eth0/mtu": "1500\n"}
    if speed is not None:
        texts |= {"sys/class/net/eth0/speed": f"{speed}\n", "sys/class/net/eth0/duplex": f"{duplex}\n"}
    (found,) = look_at_interface(files(texts), "eth0", NOBODY)
    assert found.verdict == verdict
    if speed == "100":
        assert "(301 KB) are 24.1 ms" in found.why


@pytest.mark.parametrize(
    ("said", "verdict"), [("Power save: on\n", "mend"), ("Power save: off\n", "fine"), (None, "unknown")]
)
def test_a_radio_that_sleeps_is_told(files, said, verdict):
    asked = []

    def ask(words):
        asked.append(words)
        return said

    root = files(
        {
            "sys/class/net/wlan0/wireless/x": "",
            "sys/class/net/wlan0/mtu": "1500\n",
            "proc/net/wireless": "Inter-|\n face |\n wlan0: 0000   54.  -56.  -256  0 0 0 0 0 0\n",
        }
    )
    radio, sleeps = look_at_interface(root, "wlan0", ask)
    assert (radio.verdict, radio.found) == ("note", "wlan0, Wi-Fi, -56 dBm, packets of 1500")
    assert sleeps.verdict == verdict
    assert asked == [["iw", "dev", "wlan0", "get", "power_save"]]
    if verdict == "mend":
        assert sleeps.command == "sudo iw dev wlan0 set power_save off"


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("NVIDIA H100, Enabled, P0, 0x0000000000000000", "fine"),
        ("NVIDIA H100, Enabled, P8, 0x0000000000000001", "fine"),
        ("NVIDIA H100, Disabled, P8, 0x0000000000000001", "mend"),
        ("NVIDIA H100, Enabled, P2, 0x0000000000000004", "mend"),
        ("NVIDIA H100, Enabled, P2, 0x0000000000000021", "mend"),
        ("Tegra, [N/A], P0, [N/A]", "fine"),
    ],
)
def test_a_gpu_that_is_held_back_or_put_away_is_told(files, line, verdict):
    root = files({"proc/driver/nvidia/version": "NVRM\n"})
    (found,) = look_at_gpu(root, lambda words: f"{line}\n")
    assert found.verdict == verdict
    older = [None, f"{line}\n"]
    (found,) = look_at_gpu(root, lambda words: older.pop(0))
    assert found.verdict == verdict, "a driver that has the older name only"
    (found,) = look_at_gpu(root, NOBODY)
    assert found.verdict == "unknown"


@pytest.mark.skipif(os.name != "posix", reason="it makes a script")
def test_a_command_that_only_tells_is_found_and_has_an_end(monkeypatch, tmp_path):
    for name, text in {"tells": "echo told", "fails": "echo told; exit 1", "hangs": "exec sleep 1000"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    assert ask_command(["tells"]) == "told\n"
    assert ask_command(["fails"]) is None
    assert ask_command(["no-such-command"]) is None
    monkeypatch.setitem(ask_command.__globals__, "_ASK_S", 0.2)
    assert ask_command(["hangs"]) is None


# -- the way ---------------------------------------------------------------------------------------------------


def measured(trip=0.06, small=(0.1, 0.3), large=(0.25, 0.4), **settings):
    """A survey of a server so far away."""
    made = Survey("gpu-box:8000", "offboard", Steps(0.001, (Tried("192.0.2.1", trip),)))
    made.status = {
        "loaded": {"model": "10000", "health": {"state": "ready"}},
        "sessions": 2,
        "mean_ms": {"infer_ms": 4.5},
    }
    made.meta = {"offboard_version": "1.0"}
    made.trips = [trip] * 100
    made.sent = {
        "two 224x224": Sent(301_229, [small[0]] * 3, [small[1]] * 3),
        "two 480x640": Sent(1_843_373, [large[0]] * 3, [large[1]] * 3),
    }
    made.connection = Connection("192.0.2.9", "192.0.2.1", 1500, 1448, 4000, 0, "cubic", True)
    made.compresses, made.ahead_s = False, 0.2
    return replace(made, **settings)


def of_way(what, survey):
    return only(look_at_way(survey, "1.0"), what)


@pytest.mark.parametrize(
    ("value", "survey", "congestion", "verdict"),
    [
        ("1", None, "cubic", "note"),
        ("0", None, "cubic", "fine"),
        ("1", measured(), "cubic", "mend"),
        ("0", measured(), "cubic", "fine"),
        ("1", measured(trip=0.0005), "cubic", "fine"),
        ("1", None, "bbr", "fine"),
        (None, None, "cubic", "unknown"),
        # A rest that costs nothing, and one that nobody measured.
        ("1", measured(small=(0.1, 0.101), large=(0.25, 0.25)), "cubic", "fine"),
        ("1", measured(small=(0.1, 0.101), large=(0.25, 0.4)), "cubic", "mend"),
        ("1", measured(sent={}), "cubic", "note"),
    ],
)
def test_slow_start_after_a_rest_counts_where_the_server_is_far(files, value, survey, congestion, verdict):
    texts = {f"{IPV4}_congestion_control": congestion, **({f"{IPV4}_slow_start_after_idle": value} if value else {})}
    found = only(look_at_kernel(files(texts), survey), "slow start after a rest")
    assert found.verdict == verdict
    if survey is not None and survey.sent and survey.sent["two 224x224"].rested == [0.3] * 3 and verdict == "mend":
        assert found.found == "on; 301 KB took 100 ms, and 300 after a second's rest"
        assert found.command.splitlines()[0] == "sudo sysctl -w net.ipv4.tcp_slow_start_after_idle=0"


def test_a_send_buffer_that_is_smaller_than_what_is_under_way_is_told(files):
    root = files({f"{IPV4}_wmem": "4096\t16384\t4194304\n"})
    assert only(look_at_kernel(root), "TCP's send buffer").verdict == "fine"
    assert only(look_at_kernel(root, measured()), "TCP's send buffer").verdict == "fine"
    # 1 Gbit/s and 60 ms: 7.5 MB are under way.
    fast = measured(small=(0.07, 0.07), large=(0.0823, 0.09))
    found = only(look_at_kernel(root, fast), "TCP's send buffer")
    assert found.verdict == "mend"
    assert int(found.command.split()[5].rstrip('"')) >= 2 * 7.5e6


@pytest.mark.parametrize(
    "near",
    [
        # A proxy near by takes it all: the large ones are on their way as long as a ping.
        measured(small=(0.0605, 0.0605), large=(0.0609, 0.0609)),
        # Round trips of 20 to 100 ms tell nothing of 12 ms.
        measured(trips=[0.02, 0.1] * 50, small=(0.07, 0.07), large=(0.0823, 0.09)),
    ],
)
def test_a_difference_that_is_the_round_trips_own_is_no_rate_and_advises_nothing(files, near):
    assert rate_of(near) is None
    assert "rate" not in {each.what for each in look_at_way(near, "1.0")}
    root = files({f"{IPV4}_wmem": "4096\t16384\t4194304\n"})
    assert only(look_at_kernel(root, near), "TCP's send buffer").verdict == "fine"


def test_no_buffer_is_advised_that_a_kernel_would_not_take(files):
    """Whatever is measured: a quick start of a long way looks like a very large one."""
    root = files({f"{IPV4}_wmem": "4096\t16384\t4194304\n"})
    found = only(look_at_kernel(root, measured(trip=9.0, small=(9.0, 9.0), large=(9.91, 9.91))), "TCP's send buffer")
    assert int(found.command.split()[5].rstrip('"')) <= 2**26
    root = files({f"{IPV4}_wmem": "4096\t16384\t67108864\n"})
    for trips in ([], [9.0]):
        odd = measured(trips=trips, small=(9.0, 9.0), large=(9.000001, 9.0))
        assert only(look_at_kernel(root, odd), "TCP's send buffer").verdict == "fine"


def test_the_rate_is_what_the_larger_one_took_longer():
    assert rate_of(measured()) == pytest.approx((1_843_373 - 301_229) / 0.15)
    assert rate_of(measured(large=(0.05, 0.05))) is None
    assert rate_of(Survey("x")) is None


def test_a_way_with_nothing_to_mend():
    said = list(look_at_way(measured(trip=0.001, small=(0.005, 0.005), large=(0.018, 0.018)), "1.0"))
    assert {each.verdict for each in said} == {"fine"}
    found = only(said, "server").found
    assert found == "offboard 1.0, model 10000, 2 sessions, 4.5 ms for an inference since it started"


@pytest.mark.parametrize(
    ("what", "verdict", "changes"),
    [
        ("name", "mend", {"steps": Steps(0.4, (Tried("192.0.2.1", 0.01),))}),
        ("name", "mend", {"steps": Steps(0.0, (Tried("2001:db8::1", 5.0, "timed out"), Tried("192.0.2.1", 0.01)))}),
        ("name", "fine", {"server": "192.0.2.1:8000", "steps": Steps(0.4, (Tried("192.0.2.1", 0.01),))}),
        ("name", "fine", {"steps": Steps(0.0, (Tried("::1", 0.001, "refused"), Tried("127.0.0.1", 0.001)))}),
        ("round trip", "mend", {"trips": [0.01] * 95 + [0.2] * 5}),
        ("round trip", "fine", {"trips": [0.01] * 95 + [0.03] * 5}),
        ("server's clock", "mend", {"ahead_s": -7000.0}),
        ("server's clock", "fine", {"ahead_s": 1.4}),
        ("packets lost", "mend", {"connection": Connection("a", "b", 1500, 1448, 4000, 20, "cubic", True)}),
        ("packets lost", "note", {"connection": Connection("a", "b", 1500, 1448, 4000, 20, "bbr", True)}),
        ("packets lost", "fine", {"connection": Connection("a", "b", 1500, 1448, 40, 1, "cubic", True)}),
        ("packets lost", "unknown", {"connection": Connection("a", "b", nodelay=True)}),
        ("Nagle's algorithm", "mend", {"connection": Connection("a", "b", nodelay=False)}),
        ("compression", "note", {"compresses": True}),
        ("images: two 480x640", "note", {}),
        ("server", "note", {"meta": {"offboard_version": "0.9"}}),
        ("server", "note", {"kind": "websocket"}),
        ("server", "mend", {"kind": "", "why_not": "it wants a token"}),
        ("server", "mend", {"status": {"loaded": {"model": "x", "health": {"state": "recovering", "reason": "died"}}}}),
        ("server", "mend", {"status": {"loaded": {"model": "x"}, "wedged": True}}),
        ("server", "mend", {"status": {"loaded": None, "last_failure": {"text": "no CUDA"}}}),
        ("server", "note", {"meta": {"offboard_version": 7}}),
        ("way", "unknown", {"why_not": "no model is loaded"}),
        ("way", "mend", {"why_not": "it has not answered a ping in 1 s", "failed": True}),
        ("way", "mend", {"kind": "websocket", "why_not": "it closed", "failed": True, "sent": {}}),
        # Another's that takes no message of 16 MB has taken images before.
        ("way", "unknown", {"kind": "websocket", "why_not": "closed (1009)", "failed": True}),
    ],
)
def test_what_is_told_of_a_way(what, verdict, changes):
    assert of_way(what, replace(measured(), **changes)).verdict == verdict


@pytest.mark.parametrize(
    "version",
    ["0.9", "1;curl x.yz|sh #", "1\x1b[2J\nrm -rf ~", "1.0\n", "1.0 --index-url http://x.yz", "$(x)", "１.0", "x" * 99],
)
def test_nothing_that_a_server_says_stands_in_a_command(version):
    """Of any text, as it is also its model's, its state's and its failure's."""
    statuses = (
        {"loaded": {"model": version, "health": {"state": "ready"}}},
        {"loaded": {"model": version, "health": {"state": version, "reason": version}}},
        {"loaded": None, "last_failure": {"text": version}},
    )
    for status in statuses:
        for each in look_at_way(measured(status=status, meta={"offboard_version": version}), "1.0"):
            assert version not in each.command
            assert not {"curl", "rm", "$(x)", "--index-url", "0.9"} & set(each.command.replace("=", " ").split())
    found = of_way("server", measured(meta={"offboard_version": version}))
    assert (found.verdict, bool(found.command)) == ("note", version == "0.9")
    assert "\n" not in found.found


def test_a_tunnel_is_suspected_only_where_something_large_was_sent():
    """And not after a Ctrl-C among the pings."""
    assert "large messages" not in {each.what for each in look_at_way(measured(sent={}), "1.0")}
    assert of_way("large messages", measured(sent={}, stuck=True)).verdict == "mend"


def test_no_cable_is_advised_between_two_programs_of_one_computer():
    late = {"trips": [0.01] * 95 + [0.2] * 5}
    assert "a cable" in of_way("round trip", measured(**late)).command
    here = of_way("round trip", measured(**late, connection=Connection("127.0.0.1", "127.0.0.1", nodelay=True)))
    assert here.verdict == "mend"
    assert "a cable" not in here.command
    assert "fewer programs" in here.command


def test_fewer_round_trips_are_said_to_be_fewer():
    assert of_way("round trip", measured(trips=[0.9] * 12)).found == "900 ms; the longest of 12 900 ms"


@pytest.mark.parametrize("value", [None, "x", 7, [1], {"a": 1}, float("nan"), 10**400, "\x1b[2J", "long " * 1000])
def test_a_status_that_says_anything_is_no_error(value):
    for status in (
        {"loaded": value, "sessions": value, "mean_ms": value, "last_failure": value},
        {"loaded": {"model": value, "health": value}, "mean_ms": {"infer_ms": value}},
        {"loaded": {"model": "x", "health": {"state": value, "reason": value}}},
    ):
        said = list(look_at_way(measured(status=status, meta={"offboard_version": value}), "1.0"))
        assert all(len(each.found) < 500 for each in said)


def test_the_clock_is_read_from_the_answers_date():
    assert ahead({"date": "Sat, 28 Nov 2026 02:00:00 GMT"}, 1795831200.0) == 0.5
    for wrong in ({}, {"Date": "yesterday"}, {"Date": "Sat, 28 Nov 99999 02:00:00 GMT"}):
        assert ahead(wrong, 0.0) is None


def test_the_kernel_is_asked_of_a_real_connection():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as raw,
    ):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sendall(b"x" * 100)
        seen = look_at_connection(raw)
    assert (seen.local, seen.peer, seen.nodelay) == ("127.0.0.1", "127.0.0.1", True)
    if seen.sent is not None:
        assert seen.sent >= 2, "the third of the handshake, and the data"
        assert seen.again == 0
        assert 1000 < seen.segment < seen.mtu


def test_a_kernel_that_says_less_is_no_error():
    assert segments(b"") == segments(bytes(100)) == (None, None, None)
    numbers = list(range(33))
    assert segments(bytes(8) + struct.pack("=33I", *numbers)) == (2, 32, 23)


def test_jpeg_is_tried_here_or_told_to_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert look_at_jpeg().verdict == "mend"
    monkeypatch.undo()
    pytest.importorskip("simplejpeg")
    assert look_at_jpeg().found.startswith("simplejpeg: 480x640 in ")
