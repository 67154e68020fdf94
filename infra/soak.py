"""The loops and checks of infra/soak.sh, on the S3 store that the environment names.

    soak.py ADDRESS [--minutes 3 | --seconds N] [--writers 2] [--kill SHARE]
"""
import argparse, collections, datetime, json, os, random, shutil, subprocess, sys, tempfile, threading, time

TENANTS = ["acme", "globex", "a/b=c", "名前 1"]
TYPES = ["login", "page view"]
ANSWERS = [
    "SELECT date, event_type, tenant_id, count(*) AS n, count(DISTINCT event_id) AS ids, sum(n) AS s, min(ts) AS first, "
    "max(ts) AS last FROM events GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "SELECT count(*) AS n, count(DISTINCT tenant_id || '|' || event_type || '|' || CAST(date AS VARCHAR) || '|' || event_id) "
    "AS ids, sum(n) AS s FROM events",
]
SETTINGS = """
[lifecycle]
horizon = "1000y"
transitions = "rules"

[[lifecycle.rules]]
after = "1y"
class = "DEEP_ARCHIVE"
layout = "bundle"
"""
TRY_AGAIN = 6
LOOK = 7
KILLED = -9


class Generator:
    """Exports whose events overlap: number and sum of the different ones are known."""

    def __init__(self, folder, today):
        self.folder, self.lock, self.number = folder, threading.Lock(), 0
        self.recent = [today - datetime.timedelta(days=days) for days in range(1, 4)]
        # Two months that are old enough to be bundled.
        first = (today.replace(day=1) - datetime.timedelta(days=450)).replace(day=1)
        self.old = [first + datetime.timedelta(days=days) for days in (0, 1, 13, 31, 40)]
        self.events, self.written = {}, 0

    def event(self, number):
        dice = random.Random(number)
        day = dice.choice(self.recent if number % 4 else self.old)
        key = (dice.choice(TENANTS), dice.choice(TYPES), day, f"e{number:08}")
        return key, {
            "event_id": key[3], "event_type": key[1], "tenant_id": key[0], "n": number,
            "ts": f"{day}T{dice.randrange(24):02}:{dice.randrange(60):02}:00Z",
        }

    def export(self):
        with self.lock:
            self.number += 1
            export, start = self.number, self.number * 150
            # New ones, some of the export before, and some from anywhere.
            numbers = list(range(start, start + 200)) + [random.Random(export).randrange(150, start + 1) for _ in range(30)]
            lines = []
            for number in numbers:
                key, event = self.event(number)
                self.events[key] = number
                lines.append(json.dumps(event))
            self.written += len(lines)
        path = os.path.join(self.folder, f"{export:06}.ndjson")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        return path


class Soak:
    def __init__(self, address, writers, kill):
        self.address, self.writers, self.kill, self.dice = address, writers, kill, random.Random(7)
        self.work = tempfile.mkdtemp(prefix="tier-soak.")
        os.mkdir(os.path.join(self.work, "exports"))
        with open(os.path.join(self.work, "tier.toml"), "w") as file:
            file.write(SETTINGS)
        self.generator = Generator(os.path.join(self.work, "exports"), datetime.datetime.now(datetime.timezone.utc).date())
        self.lock = threading.Lock()
        # What processes reported: (version, who) of commits; sums; how often each verb ran, committed and gave up.
        self.commits, self.sums = [], collections.Counter()
        self.ran, self.committed, self.again, self.seconds = (collections.Counter() for _ in range(4))
        self.killed, self.failures, self.stop = 0, [], threading.Event()

    def tier(self, *args, codes=(0,), archive=None, dies_after=None):
        command = [os.environ["TIER_BIN"], "--archive", archive or self.address, "--json", "--no-progress", *args]
        started = time.monotonic()
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=self.work, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
        death = threading.Timer(dies_after or 0, process.kill) if dies_after else None
        if death:
            death.start()
        stdout, stderr = process.communicate()
        if death:
            death.cancel()
        done = subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
        with self.lock:
            self.ran[args[0]] += 1
            self.seconds[args[0]] += time.monotonic() - started
        if done.returncode not in codes:
            raise SystemExit(f"tier {' '.join(args)} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def write(self, verb, *args):
        """Runs a verb that commits until it is through; lost races are its right, for a while."""
        for _ in range(50):
            with self.lock:
                dies_after = self.dice.uniform(0.05, 2) if self.dice.random() < self.kill else None
            done = self.tier(verb, *args, codes=(0, TRY_AGAIN, KILLED), dies_after=dies_after)
            conflicts = done.stderr.count("deciding again")
            if done.returncode == KILLED:
                with self.lock:
                    self.killed += 1
                continue
            if done.returncode == 0:
                with self.lock:
                    self.again[verb] += conflicts
                return json.loads(done.stdout) if done.stdout.strip() else {}
            with self.lock:
                self.again[verb] += 1 + conflicts
        raise SystemExit(f"tier {verb} was told to try again 50 times: {done.stderr[-3000:]}")

    def note(self, verb, versions):
        with self.lock:
            self.commits += [(version, verb) for version in versions]
            self.committed[verb] += len(versions)

    def archive(self):
        report = self.write("archive", self.generator.export())
        self.note("archive", report["committed"])
        with self.lock:
            for name in ("read", "accepted", "duplicate", "dead_letter"):
                self.sums[name] += report[name]

    def compact(self, *args):
        report = self.write("compact", *args)
        # Of several commits the last is known by its number.
        self.note("compact", [report["version"]] if report["commits"] else [])
        with self.lock:
            self.sums["given up"] += report.get("given_up", 0)

    def lifecycle(self):
        report = self.write("lifecycle", "apply", "--yes", "--max-cost", "100")
        self.note("lifecycle", [report["version"]] if report.get("commits") else [])

    def vacuum(self, grace):
        report = self.write("vacuum", "--yes", "--grace", grace)
        self.note("vacuum", [report["version"]] if report["version"] else [])

    def writer(self, number):
        turn = number
        while not self.stop.is_set():
            turn += 1
            self.archive()
            if turn % 2 == 0:
                self.compact("--min-age", "0d")
            if turn % 3 == 0:
                self.compact("--catalog")
            if turn % 4 == 0:
                self.lifecycle()
            if turn % 9 == 0:
                # Longer than any process here lives: none loses what it is at.
                self.vacuum("90s")

    def reader(self):
        before = 0
        while not self.stop.is_set():
            done = self.tier("query", "--format", "ndjson", ANSWERS[1], codes=(0, 1))
            if done.returncode == 1 and '"no-archive"' in done.stderr:
                time.sleep(0.2)
                continue
            if done.returncode:
                raise SystemExit(f"the question failed: {done.stderr}")
            answer = json.loads(done.stdout)
            if answer["n"] != answer["ids"]:
                raise SystemExit(f"{answer['n']} rows are {answer['ids']} events")
            if answer["n"] < before:
                raise SystemExit(f"there were {before} rows, and now {answer['n']}")
            before = answer["n"]

    def guarded(self, work, *args):
        try:
            work(*args)
        except BaseException as error:
            self.failures.append(str(error) or repr(error))
            self.stop.set()

    def loop(self, seconds):
        threads = [threading.Thread(target=self.guarded, args=(self.writer, number)) for number in range(self.writers)]
        threads.append(threading.Thread(target=self.guarded, args=(self.reader,)))
        for thread in threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        for thread in threads:
            thread.join()
        if self.failures:
            raise SystemExit("\n".join(self.failures))

    def answers(self, archive=None):
        return [self.tier("query", "--format", "ndjson", sql, archive=archive).stdout for sql in ANSWERS]

    def check(self, what, found, expected):
        if found != expected:
            raise SystemExit(f"{what}: {str(found)[:2000]}\nis not {str(expected)[:2000]}")

    def check_whole(self, archive=None):
        document = json.loads(self.tier("verify", "--read", "all", "--duplicates", codes=(0, LOOK, 1), archive=archive).stdout)
        self.check("problems", document["problems"], [])
        self.check("doubled events", document["duplicates"]["doubled_events"], 0)
        return document

    def check_all(self):
        events = self.generator.events
        # A killed process may have committed, and told nobody.
        if not self.killed:
            self.check("records read", self.sums["read"], self.generator.written)
            self.check("accepted", self.sums["accepted"], len(events))
        self.check("dead letters", self.sums["dead_letter"], 0)
        answers = self.answers()
        total = json.loads(answers[1])
        self.check("rows", (total["n"], total["ids"], total["s"]), (len(events), len(events), sum(events.values())))
        lines = json.loads(self.tier("history", "--limit", "1000000").stdout)["versions"]
        kinds = {line["version"]: line["operation"]["kind"] for line in lines if line["operation"]}
        self.check("versions", sorted(kinds), list(range(1, max(kinds) + 1)))
        allowed = {"archive": {"append"}, "compact": {"compact", "merge"}, "lifecycle": {"replace"}, "vacuum": {"vacuum"}}
        for version, verb in self.commits:
            if kinds.get(version) not in allowed[verb]:
                raise SystemExit(f"{verb} reported version {version}, and the history has there: {kinds.get(version)}")
        self.check("versions reported twice", len({version for version, _ in self.commits}), len(self.commits))
        document = self.check_whole()
        print(f"verify: {document['files']} files, {document['read']['rows']} rows read, {document['replaced']['objects']} "
              f"replaced files, {document['orphans']['objects']} orphans, {document['versions_expired']} expired versions")
        return answers, kinds

    def mc(self, *args):
        scheme, host = os.environ["AWS_ENDPOINT_URL"].split("://")
        login = f"{os.environ['AWS_ACCESS_KEY_ID']}:{os.environ['AWS_SECRET_ACCESS_KEY']}"
        environment = {**os.environ, "MC_HOST_soak": f"{scheme}://{login}@{host}"}
        command = [os.environ["TIER_TEST_MC"], "--config-dir", os.path.join(self.work, "mc"), "--quiet", *args]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"mc {' '.join(args)}: {done.stdout}{done.stderr}")

    def check_rebuild(self, answers):
        """On a copy with everything that runs have left behind, and after a vacuum on the archive itself."""
        source, copy = self.address.removeprefix("s3://"), self.address.removeprefix("s3://") + "-copy"
        self.mc("mirror", f"soak/{source}", f"soak/{copy}")
        for lost in ("root/", "leaf/", "hint", "ledger/", "table.json"):
            self.mc("rm", "--recursive", "--force", f"soak/{copy}/_tier/{lost}")
        archive = f"s3://{copy}"
        report = json.loads(self.tier("rebuild", archive=archive).stdout)
        left_out = {why: of["objects"] for why, of in report["left_out"].items()}
        print(f"rebuild of a copy: {report['files']} files, {report['rows']} rows; left out: {left_out}")
        self.check("answers of the rebuilt copy", self.answers(archive), answers)
        self.check_whole(archive)
        self.tier("vacuum", "--yes", "--grace", "0s")
        document = json.loads(self.tier("rebuild", "--check", codes=(0, LOOK)).stdout)
        self.check("differences", (document["differences"], document["problems"]), ([], []))
        self.check("answers after the vacuum", self.answers(), answers)
        # The next nightly run on the copy: the same exports bring nothing, a new one what is new.
        report = json.loads(self.tier("archive", os.path.join(self.work, "exports"), archive=archive).stdout)
        self.check("records again", (report["accepted"], report["dead_letter"]), (0, 0))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--kill", type=float, default=0, help="share of the writing processes that are killed at work")
    args = parser.parse_args()
    seconds = args.seconds if args.seconds is not None else 60 * args.minutes
    soak = Soak(args.address, args.writers, args.kill)
    try:
        soak.loop(seconds)
        answers, kinds = soak.check_all()
        by_kind = dict(sorted(collections.Counter(kinds.values()).items()))
        print(f"{args.writers} writers, {seconds:.0f} s: {len(kinds)} commits {by_kind}")
        print(f"records {soak.sums['read']}: {soak.sums['accepted']} new, {soak.sums['duplicate']} duplicate")
        lost_races = dict(soak.again)
        print(f"decided or run again after a lost race: {lost_races}; files of merges given up: {soak.sums['given up']}; "
              f"processes killed: {soak.killed}")
        print("seconds a run: " + ", ".join(f"{verb} {soak.seconds[verb] / runs:.1f} ({runs})" for verb, runs in soak.ran.items()))
        soak.check_rebuild(answers)
        print("nothing lost, nothing doubled")
    finally:
        shutil.rmtree(soak.work)


if __name__ == "__main__":
    sys.exit(main())
