"""The launchers under faults, with a program that fails as it is told (tests/launch/program)."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

FAKES = Path(__file__).parent / "launch"
AGAIN = (75, 76, 134, 137, 143)


@pytest.fixture
def checkout(root, tmp_path, monkeypatch):
    """A copy of launch/ whose programs are the fakes; tmp_path, where their calls are noted."""
    shutil.copytree(root / "launch", tmp_path / "launch")
    (tmp_path / "bin").mkdir()
    for name, fake in {"gcloud": "gcloud", "srun": "srun", "scancel": "srun"}.items():
        (tmp_path / "bin" / name).symlink_to(FAKES / fake)
    (tmp_path / "bin" / "git").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("RIVAL_JAX_PYTHON", str(FAKES / "program"))
    monkeypatch.setenv("RIVAL_JAX_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    for process in STARTED:
        process.kill()
        process.communicate()
    STARTED.clear()


def start(command: str, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command.split(),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(process)
    return process


def done(command: str, **environment: str) -> tuple[int, str]:
    process = start(command, **environment)
    text, _ = process.communicate(timeout=30)
    return process.returncode, text


def until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def runs(checkout: Path, process: str = "") -> int:
    return int((checkout / f"run{process}").read_text())


BABYSIT = f"launch/babysit.sh --pause=0 --stalls=2 {FAKES / 'program'} --workdir=work"


@pytest.mark.parametrize("code", [*AGAIN, "kill"])
def test_what_can_be_mended_is_run_again(code, checkout):
    assert done(BABYSIT, DOES=f"{code} 0")[0] == 0
    assert runs(checkout) == 2


@pytest.mark.parametrize("code", [1, 2, 64, 127, 139])
def test_an_error_is_not_run_again(code, checkout):
    found, text = done(BABYSIT, DOES=f"{code} 0")
    assert (found, runs(checkout)) == (code, 1)
    assert "no restart mends" in text


def test_runs_that_save_nothing_are_given_up(checkout):
    assert done(BABYSIT, DOES="76 kill 0")[0] == 137
    assert runs(checkout) == 2


def test_runs_that_save_something_go_on(checkout):
    assert done(BABYSIT, DOES="unit 76 unit 76 76 unit kill 75 unit 0")[0] == 0
    assert runs(checkout) == 6


@pytest.mark.parametrize("name", ["rows/.partial-{}.parquet", "rows/a-{}.tmp", "log-{}.jsonl"])
def test_half_a_unit_is_no_progress(name, checkout):
    """The names differ in every run, as those of temporary files do."""
    program = checkout / "program"
    program.write_text(f"#!/bin/sh\nmkdir -p work/rows\ntouch work/{name.format('$$')}\nexit 76\n")
    program.chmod(0o755)
    assert done("launch/babysit.sh --pause=0 --stalls=2 ./program --workdir=work")[0] == 76


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_command_once_and_for_all(number, checkout):
    process = start(BABYSIT, DOES="wait 0")
    until((checkout / "waits").exists)
    process.send_signal(number)
    assert process.wait(30) == 75
    assert runs(checkout) == 1
    assert (checkout / "calls").read_text().count("TERM to process") == 1


LOCAL = "launch/local_multiprocess.sh --grace=1 2 --config=x --workdir=work"


@pytest.mark.parametrize(
    ("codes", "verdict"),
    [
        (("0", "0"), 0),
        (("75", "75"), 75),
        (("0", "75"), 75),
        (("75", "76"), 76),
        (("kill", "76"), 76),
        (("134", "75"), 76),
        (("76", "1"), 1),  # an error of one is what the others lost it by
        (("2", "kill"), 2),
    ],
)
def test_one_code_for_all_processes(codes, verdict, checkout):
    found, text = done(LOCAL, DOES0=codes[0], DOES1=codes[1])
    assert found == verdict
    assert "[1] run 1" in text
    places = [line.split()[2:5] for line in (checkout / "calls").read_text().splitlines()]
    assert sorted(place[2] for place in places) == ["--process_id=0", "--process_id=1"]
    assert len({place[0] for place in places}) == 1  # the same port


def test_a_process_that_hangs_is_killed(checkout):
    found, text = done(LOCAL, DOES0="deaf", DOES1="kill")
    assert found == 76
    assert "killing them" in text


def test_a_signal_reaches_every_process_once(checkout):
    process = start(LOCAL, DOES="wait")
    until(lambda: (checkout / "waits0").exists() and (checkout / "waits1").exists())
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75
    heard = [line for line in (checkout / "calls").read_text().splitlines() if "TERM" in line]
    assert sorted(heard) == ["TERM to process 0", "TERM to process 1"]


def test_a_job_with_a_killed_process_comes_to_its_end(checkout):
    command = LOCAL.replace("launch/", "launch/babysit.sh --pause=0 launch/", 1)
    assert done(command, DOES0="76 0", DOES1="kill 0")[0] == 0
    assert (runs(checkout, "0"), runs(checkout, "1")) == (2, 2)


WORKER = "launch/run_worker.sh --once={} --config=x --workdir=work"


def test_a_repeated_command_follows_what_runs(checkout):
    """As gcloud repeats it when a connection breaks; the first caller's end ends nothing."""
    first = start(WORKER.format("a"), DOES="wait")
    until((checkout / "waits").exists)
    first.kill()
    first.wait()
    again = start(WORKER.format("a"), DOES="1")
    pid = int((checkout / "runs" / "a" / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    assert again.communicate(timeout=30)[0] == "run 1: wait\n"
    assert again.returncode == 75
    assert runs(checkout) == 1
    assert done(WORKER.format("a"), DOES="1")[0] == 75  # it has ended: nothing is started


def test_a_new_run_ends_the_one_before(checkout):
    first = start(WORKER.format("a"), DOES="wait 0")
    until((checkout / "waits").exists)
    found, text = done(WORKER.format("b"), DOES="wait 0")
    assert (found, first.wait(30)) == (0, 75)
    assert "started before" in text
    assert (checkout / "runs" / "newest" / "log").read_text() == "run 2: 0\n"


def test_stop_ends_what_runs(checkout):
    first = start(WORKER.format("a"), DOES="wait")
    until((checkout / "waits").exists)
    assert done("launch/run_worker.sh --stop")[0] == 0
    assert first.wait(30) == 75


def test_a_machine_that_is_taken_away_is_made_again(checkout):
    command = "launch/babysit.sh --pause=0 launch/tpu_vm.sh run pod --queued --spot --recreate"
    found, text = done(f"{command} -- --config=x --workdir=work", DOES="lost 76 0")
    assert found == 0, text
    calls = (checkout / "calls").read_text().splitlines()
    queued = [" ".join(call.split()[2:5]) for call in calls if "describe" not in call]
    made = ["queued-resources delete pod", "queued-resources create pod"]
    assert [action for action in queued if action.startswith("queued")] == made * 2
    assert sum("--once=" in call for call in calls) == 3
    assert sum("setup_worker.sh" in call for call in calls) == 2


@pytest.mark.parametrize(
    ("does", "code"), [("0", 0), ("1", 1), ("75", 75), ("255", 76), ("lost", 76)]
)
def test_the_code_of_a_run_on_a_machine(does, code, checkout):
    (checkout / "state").write_text("READY\n")
    command = "launch/tpu_vm.sh run pod -- --config=x --workdir=work"
    assert done(command, DOES=does)[0] == code


SBATCH = "bash launch/slurm.sbatch --config=x --workdir=work"


@pytest.fixture
def slurm(checkout, monkeypatch):
    monkeypatch.setenv("SLURM_SUBMIT_DIR", str(checkout))
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    scontrol = checkout / "bin" / "scontrol"
    scontrol.write_text('#!/bin/sh\necho "scontrol $*" >>"$HERE/calls"\necho "JobState=$STATE"\n')
    scontrol.chmod(0o755)
    script = checkout / "launch" / "babysit.sh"  # without its pause
    script.write_text(script.read_text().replace("pause=10", "pause=0"))
    return checkout


def test_a_lost_task_is_started_again_inside_the_job(slurm):
    found, _ = done(SBATCH, DOES0="76 0", DOES1="kill 0")
    assert (found, runs(slurm, "0"), runs(slurm, "1")) == (0, 2, 2)
    calls = (slurm / "calls").read_text()
    assert "srun --kill-on-bad-exit=0" in calls
    assert "--distributed=auto" in calls
    assert "scontrol" not in calls


@pytest.mark.parametrize("state", ["RUNNING", "CANCELLED"])
def test_a_job_at_its_time_limit_goes_back_to_the_queue(state, slurm):
    process = start(SBATCH, DOES="wait", STATE=state)
    until(lambda: (slurm / "waits0").exists() and (slurm / "waits1").exists())
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75
    calls = (slurm / "calls").read_text()
    assert calls.count("TERM to process") == 2
    assert calls.endswith("scontrol requeue 42\n") == (state == "RUNNING")


def test_an_error_ends_the_job(slurm):
    assert done(SBATCH, DOES="1")[0] == 1
    assert "scontrol" not in (slurm / "calls").read_text()
