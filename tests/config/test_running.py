"""What runs beside the server is started and stopped in good order."""

import asyncio

import pytest

from config.running import Running


class Work:
    """Runs until it is stopped, or for ever if it is deaf."""

    def __init__(self, *, deaf: bool = False, fails: bool = False) -> None:
        self._deaf, self._fails = deaf, fails
        self._end = asyncio.Event()
        self.begun, self.outcome = asyncio.Event(), ""

    async def run(self) -> None:
        self.begun.set()
        if self._fails:
            raise ConnectionError("the cable is out")
        try:
            await self._end.wait()
            self.outcome = "stopped"
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise

    def stop(self) -> None:
        if not self._deaf:
            self._end.set()


@pytest.mark.parametrize(("deaf", "outcome"), [(False, "stopped"), (True, "cancelled")])
async def test_work_ends_with_the_process(deaf: bool, outcome: str) -> None:
    """It may finish what it is at; what does not listen is cancelled."""
    work = Work(deaf=deaf)
    running = Running("work", work, patience=0.01 if deaf else 20)
    running.start()
    await work.begun.wait()
    await running.stop()

    assert work.outcome == outcome


async def test_failure_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Work that ends by itself is no secret."""
    work = Work(fails=True)
    running = Running("work", work)
    running.start()
    await work.begun.wait()
    await running.stop()

    assert [record.getMessage() for record in caplog.records] == ["work ended"]
    assert "the cable is out" in caplog.text


async def test_what_never_ran_can_be_stopped() -> None:
    """A start that failed before leaves nothing behind."""
    await Running("work", Work()).stop()
