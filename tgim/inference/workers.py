"""Edits of a folder by several processes, each of which loads the model once and makes one picture at a time.

A worker is a new interpreter, told what to do by JSON lines on its standard input: first what is asked, then names of
pictures. It answers by JSON lines: when it is ready, one for each edit, and one when it is free again. It ends where
its input does, so that none is left behind when the process that started it is killed.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tgim.errors import UserError
from tgim.inference.batch_edit import Job, Result, check_texts
from tgim.inference.folder_edit import Edited, Folder, Maker
from tgim.system.runtime import THREADS, usable_cores
from tgim.system.threads import count as own_threads

if TYPE_CHECKING:
    from tgim.inference.editor import Editor

log = logging.getLogger(__name__)
START = "import sys; sys.path[:] = {path!a}; from tgim.inference.workers import serve; serve()"
POLL = 0.5  # seconds after which names that were not there are asked for again
PATIENCE = 10.0  # seconds that a worker has to end by itself


@dataclass(frozen=True)
class Ready:
    """Facts that an editor tells before its first picture."""

    device: str
    notes: tuple[str, ...]  # of words that are not known
    read: dict[str, dict[str, Any]]  # by text: the caption that is used, and unknown words with known ones near them

    @classmethod
    def of(cls, editor: Editor, texts: Sequence[str]) -> Ready:
        """Ask an editor.

        Raises:
            TextError: a text cannot be used.
        """
        from tgim.text.understand import understand

        notes, read = check_texts(editor, texts), {}
        for text in texts:
            found = understand(text, editor.vocabulary, editor.template)
            unknown = {word: list(near) for word, near in found.unknown.items()}
            read[text] = {"caption": found.caption, "unknown": unknown}
        return cls(str(editor.device), tuple(notes), read)


@dataclass(eq=False)
class _Worker:
    """A process, and the edits that it has yet to tell of."""

    process: subprocess.Popen[bytes]
    listener: threading.Thread | None = None
    left: list[Job] = field(default_factory=list)

    def tell(self, value: Any) -> None:
        """Send a line; one that has died is noticed where its answers end."""
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.write(json.dumps(value).encode() + b"\n")
                self.process.stdin.flush()


class Crew:
    """Processes that make the edits of a folder; a context manager that ends them.

    Args:
        folder: what is to be done.
        model: name or file.
        device: "cpu" or "cuda".
        count: of processes.
        threads: of each; None shares the cores that this process may use.
        engine: see `tgim.inference.editor.open_editor`.
    """

    def __init__(
        self, folder: Folder, *, model: str, device: str, count: int, threads: int | None = None, engine: str = "auto"
    ) -> None:
        self.folder = folder
        self._asked: dict[str, Any] = {"folder": folder.as_json(), "model": model, "device": device, "engine": engine}
        self._asked |= {"threads": threads or shared_threads(count)}
        self._heard: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._workers: list[_Worker] = []
        self._free: list[_Worker] = []
        self._count = count

    def __enter__(self) -> Crew:
        try:
            for _ in range(self._count):
                self._start()
            self.ready = self._first()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, names: Iterable[str | None]) -> Generator[Result, None, None]:
        """Make the edits of pictures, in the order in which they are done.

        The picture of a worker that dies counts as failed, and another worker is started. After a KeyboardInterrupt
        the workers end, the results come that they still had, and then the interrupt again.

        Args:
            names: of the pictures; None where there is none yet.

        Raises:
            UserError: no worker is left and none could be started.
        """
        try:
            yield from self._run(iter(names))
        except KeyboardInterrupt:
            self.close()
            while not self._heard.empty():
                worker, said = self._heard.get()
                if said is not None and "result" in said:
                    yield from self._hear(worker, said)
            raise

    def _run(self, coming: Iterator[str | None]) -> Iterator[Result]:
        ended = False
        while not ended or any(worker.left for worker in self._workers):
            while self._free and not ended:
                name = next(coming, "")
                ended = name == ""
                if not name:
                    break
                worker = self._free.pop()
                worker.left = self.folder.jobs(name)
                worker.tell(name)
            if not self._workers:
                raise UserError("no worker is left to go on; give fewer --workers")
            with suppress(queue.Empty):
                yield from self._hear(*self._heard.get(timeout=POLL))

    def close(self) -> None:
        """End the workers: the free ones at once, the others after what they are writing."""
        for worker in self._workers:
            with suppress(OSError):
                worker.process.terminate()
            if worker.process.stdin is not None:
                with suppress(OSError):
                    worker.process.stdin.close()
        for worker in self._workers:
            try:
                worker.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            if worker.listener is not None:
                worker.listener.join()
        self._workers = []

    def _start(self) -> None:
        """Start a worker in a group of its own, so that ctrl-C reaches this process alone."""
        code = START.format(path=[os.path.abspath(each) for each in sys.path if each])
        given = {**os.environ, THREADS: str(self._asked["threads"])}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": given}
        try:
            process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes)
        except OSError as error:
            raise UserError(f"a worker cannot be started ({error.strerror}); give fewer --workers") from None
        worker = _Worker(process)
        worker.listener = threading.Thread(target=self._listen, args=(worker,), daemon=True)
        worker.listener.start()
        self._workers.append(worker)
        worker.tell(self._asked)

    def _listen(self, worker: _Worker) -> None:
        """Pass on what a worker says, and None at its end."""
        if worker.process.stdout is not None:
            with worker.process.stdout as answers, suppress(OSError):
                for line in answers:
                    with suppress(ValueError):  # torn by its end
                        self._heard.put((worker, json.loads(line)))
        self._heard.put((worker, None))

    def _first(self) -> Ready:
        """Wait until one worker is ready."""
        while self._workers:
            worker, said = self._heard.get()
            list(self._hear(worker, said))
            if said is not None and "ready" in said:
                told = said["ready"]
                return Ready(told["device"], tuple(told["notes"]), told["read"])
        raise UserError("no worker could be started: each ended while it loaded the model; give fewer --workers")

    def _hear(self, worker: _Worker, said: dict[str, Any] | None) -> Iterator[Result]:
        """Note what a worker says; gives the results that follow."""
        if said is None:
            yield from self._bury(worker)
        elif "refused" in said:
            raise UserError(said["refused"])
        elif "log" in said:
            log.log(said["level"], "%s", said["log"])
        elif "result" in said:
            (job,) = (each for each in worker.left if str(each.out) == said["out"])
            worker.left.remove(job)
            told = said["result"]
            told["box"] = None if told["box"] is None else tuple(told["box"])
            yield Result(job, **{**told, "notes": tuple(told["notes"])})
        else:
            self._free.append(worker)

    def _bury(self, worker: _Worker) -> Iterator[Result]:
        """Count what a dead worker had to do as failed, and start another in its place."""
        self._workers.remove(worker)
        if worker in self._free:
            self._free.remove(worker)
        if worker.process.stdin is not None:
            with suppress(OSError):
                worker.process.stdin.close()
        code = worker.process.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        what = f" at {worker.left[0].image}" if worker.left else ""
        log.warning("a worker ended %s%s%s", how, what, ", which counts as failed; the others go on" if what else "")
        for job in worker.left:
            yield Result(job, error=f"{job.image}: the worker that edited it ended {how}; give fewer --workers")
        if worker.left:  # one that dies without a picture would die again
            self._start()


def shared_threads(count: int) -> int:
    """Threads of each of so many workers: together the cores that this process may use, at least one each.

    >>> shared_threads(10**6)
    1
    """
    return min(max(1, usable_cores() // count), own_threads())


def serve() -> None:
    """Be a worker: do what is asked on the standard input, and answer on the standard output."""
    end = _End()
    signal.signal(signal.SIGTERM, end)
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers, suppress(BrokenPipeError):
        os.dup2(2, 1)  # what else is printed is no answer
        turn = threading.Lock()

        def answer(value: dict[str, Any]) -> None:
            with turn:
                answers.write(json.dumps(value).encode() + b"\n")

        class Told(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                answer({"log": record.getMessage(), "level": record.levelno})

        logging.getLogger("tgim").addHandler(Told(logging.WARNING))
        with open(0, "rb", closefd=False) as lines:
            asked = json.loads(lines.readline() or "null")
            if asked is not None:
                _serve(asked, lines, answer, end)


class _End:
    """The end of a worker that is asked for by SIGTERM: at once, but not while a file is being written."""

    def __init__(self) -> None:
        self.asked = self.writing = False

    def __call__(self, *_: object) -> None:
        self.asked = True
        if not self.writing:
            os._exit(0)  # other ways out say where they were

    @contextmanager
    def later(self) -> Iterator[None]:
        """Put the end off until the block is done."""
        self.writing = True
        try:
            yield
        finally:
            self.writing = False
            if self.asked:
                os._exit(0)


class _Steady(Maker):
    """A maker that is not ended while it writes."""

    def __init__(self, editor: Editor, folder: Folder, end: _End) -> None:
        super().__init__(editor, folder)
        self._end = end

    def write(self, edited: Edited) -> Result:
        with self._end.later():
            return super().write(edited)


def _serve(asked: dict[str, Any], lines: Iterable[bytes], answer: Any, end: _End) -> None:
    try:
        from tgim.inference.editor import open_editor

        folder, chosen = Folder.from_json(asked["folder"]), {key: asked[key] for key in ("device", "engine")}
        editor = open_editor(asked["model"], invert_steps=folder.asked.invert_steps, **chosen)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(asked["threads"])
        ready = Ready.of(editor, folder.texts)
        maker = _Steady(editor, folder, end)
    except UserError as error:
        answer({"refused": str(error)})
        return
    answer({"ready": {"device": ready.device, "notes": ready.notes, "read": ready.read}})
    for line in lines:
        for result in maker.one(json.loads(line)):
            told = {key: value for key, value in vars(result).items() if key != "job"}
            answer({"result": told, "out": str(result.job.out)})
        answer({"free": True})
