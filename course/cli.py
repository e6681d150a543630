"""`sundays`: the course from the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from course import answers, generation, progress, progress_command, training
from course.checks import chapters
from course.files import write_atomically
from course.recheck import Outcome, after_an_update, recheck, remember_all
from course.training import Settings

SETTINGS = Path(__file__).with_name("jupyter")
"""JupyterLab asks no questions at its start, and shows texts instead of their source.

What the reader has set in JupyterLab comes first.
"""

app = typer.Typer(
    help="Five Sundays: build a GPT from an empty file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Keeps `sundays check` a subcommand even while there are few commands."""


@app.command()
def check() -> None:
    """Check all your kept answers again; show what is passed and what comes next."""
    console = Console()
    outcomes = []
    with console.status("checking") as status:
        for chapter, exercises in chapters().items():
            for exercise in exercises:
                status.update(f"checking {exercise.name}")
                outcomes.append(recheck(chapter, exercise))
    remember_all(outcomes)
    console.print(_table(outcomes))
    for outcome in outcomes:
        if outcome.problem:
            console.print(f"{outcome.exercise.name}: {outcome.problem}", markup=False)
    todo = [outcome.exercise for outcome in outcomes if not outcome.passed]
    done = len(outcomes) - len(todo)
    line = f"{done} of {len(outcomes)} parts are yours."
    if todo:
        minutes = sum(exercise.minutes for exercise in todo)
        line += f" Next: {todo[0].name}. About {minutes} minutes to go."
    console.print(line, soft_wrap=True)
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(1)


@app.command("progress")
def progress_(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="With --share: a folder of the group, or a file that ends in .toml; "
            "else progress.toml in your workbook."
        ),
    ] = None,
    share: Annotated[
        bool,
        typer.Option(
            "--share", help="Write a small file for your group, without any answer."
        ),
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Your name on the board; is remembered.")
    ] = None,
    no_name: Annotated[
        bool, typer.Option("--no-name", help="Share no name; is remembered.")
    ] = False,
) -> None:
    """Show how far you are, and what comes next; or share it with your group."""
    if not share and (path is not None or name is not None or no_name):
        sys.exit(
            "A path and a name go with --share: `sundays progress --share FOLDER`."
        )
    if name is not None and no_name:
        sys.exit("Give either --name or --no-name.")
    if not share:
        return progress_command.show()
    try:
        progress_command.share(path, "" if no_name else name)
    except progress.ShareError as problem:
        sys.exit(str(problem))


@app.command()
def plan(
    start: Annotated[
        str | None, typer.Option(help="The first date; at first 2025-03-02.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="The hour; at first 14:00.")] = None,
    minutes: Annotated[int | None, typer.Option(help="How long; at first 120.")] = None,
    zone: Annotated[
        str | None, typer.Option(help="By whose clocks; at first Asia/Seoul.")
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(help="A date without a meeting; once for each of them."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder; else your workbook.")
    ] = None,
) -> None:
    """Plan the five dates: as a page, and for calendar programs.

    What you leave out stays as it is in your plan; a new --start makes the dates anew.
    """
    from course import plan_command  # what it needs takes time to import

    try:
        said = plan_command.run(
            start=start,
            begins=at,
            minutes=minutes,
            zone=zone,
            skip=skip or (),
            out=out,
        )
    except plan_command.PlanError as problem:
        line = str(problem)
        sys.exit(f"{line[0].upper()}{line[1:]}. Nothing was written.")
    except OSError as problem:
        sys.exit(
            f"The plan cannot be written: {problem.strerror} ({problem.filename}). "
            "What was there before is kept; run this again when that is mended."
        )
    print(said)


@app.command()
def group(
    folder: Annotated[Path, typer.Argument(help="With your members' files.")],
    html: Annotated[
        Path | None,
        typer.Option(help="Write the board as a page instead, for a projector."),
    ] = None,
    sunday: Annotated[
        int | None, typer.Option(help="1 to 5; else the one the group is at.")
    ] = None,
) -> None:
    """Show where your study group is, what to talk about, and who can help whom."""
    from course.group import GroupError, board

    try:
        shown = board(folder, sunday=sunday)
    except GroupError as problem:
        sys.exit(str(problem))
    if html is None:
        Console().print(shown, crop=False)
        return
    try:
        write_atomically(html, shown.page())
    except OSError as problem:
        sys.exit(
            f"The page {html} cannot be written: {problem.strerror or problem}. "
            "Give a file in a folder that you can write to."
        )
    print(f"{shown.size}\nThe board is {html}: open it in a browser.")


@app.command()
def lab(
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Bring your workbook up to date with the course, and open JupyterLab on it.

    Answers whose checks have changed are checked again; they always stay.
    """
    from course import workbook  # what it needs takes a second to import

    folder = answers.home().absolute()
    try:
        notebooks = workbook.update(folder)
        workbook.make_notes(folder)
    except workbook.WorkbookError as problem:
        sys.exit(str(problem))
    after_an_update()
    parts = progress.parts()
    print(progress.two_lines(known=parts))
    for line in filter(None, [progress.plan_problem()]):
        print(line)
    print(
        f"Your workbook is {folder}. In JupyterLab, Shift+Enter runs a cell; "
        "Ctrl+C here ends JupyterLab.",
        flush=True,
    )
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}"]
    # What the update says stays in sight.
    command += ["--log-level=WARN", "--LabApp.log_level=WARN"]
    if start := _where_to_start(notebooks, parts):
        command.append(f"--LabApp.default_url=/lab/tree/{quote(str(start))}")
    if not browser:
        command.append("--no-browser")
    if os.geteuid() == 0:
        command.append("--allow-root")  # as in a container; it serves this machine only
    # The kernels run in other folders: for them the place must not be relative.
    os.environ["FIVE_SUNDAYS_HOME"] = str(folder)
    own = os.environ.get("JUPYTER_CONFIG_PATH")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        filter(None, [own, str(SETTINGS)])
    )
    # JupyterLab takes this process over, so that Ctrl+C asks and ends it properly.
    os.execv(command[0], command)


@app.command()
def train(
    source: Annotated[
        str,
        typer.Argument(
            help="`stories`, `stories:CHARACTERS`, a text file, a folder of them, or "
            "hub:OWNER/NAME."
        ),
    ] = Settings.source,
    out: Annotated[
        Path, typer.Option(help="The folder of the run, and of the model.")
    ] = Path("my-gpt"),
    size: Annotated[
        str, typer.Option(help="tiny, small, gpt2, gpt2-medium, -large or -xl.")
    ] = Settings.size,
    steps: Annotated[int, typer.Option(help="Batches to learn from.")] = Settings.steps,
    rows: Annotated[int, typer.Option(help="Texts in a batch.")] = Settings.rows,
    pieces: Annotated[
        int, typer.Option(help="Take a batch in so many pieces, to save memory.")
    ] = Settings.pieces,
    layers: Annotated[
        int | None, typer.Option(help="Blocks; else those of the size.")
    ] = Settings.layers,
    width: Annotated[
        int | None, typer.Option(help="Channels; else those of the size.")
    ] = Settings.width,
    heads: Annotated[
        int | None, typer.Option(help="Heads; else those of the size.")
    ] = Settings.heads,
    context: Annotated[
        int | None, typer.Option(help="Tokens of a text; else what the size has.")
    ] = Settings.context,
    vocab_size: Annotated[int | None, typer.Option(help="Of the tokenizer.")] = (
        Settings.vocab_size
    ),
    optimizer: Annotated[str, typer.Option(help="muon or adamw.")] = Settings.optimizer,
    rate: Annotated[
        float, typer.Option(help="The highest learning rate.")
    ] = Settings.rate,
    weight_decay: Annotated[
        float, typer.Option(help="For matrices.")
    ] = Settings.weight_decay,
    warmup: Annotated[
        int, typer.Option(help="Steps in which the rate rises.")
    ] = Settings.warmup,
    lowest: Annotated[
        float, typer.Option(help="The rate at the end, as a share of the highest.")
    ] = Settings.lowest,
    clip: Annotated[float, typer.Option(help="The longest gradient.")] = Settings.clip,
    dropout: Annotated[float, typer.Option(help="At all three places of GPT-2.")] = (
        Settings.dropout
    ),
    seed: Annotated[int, typer.Option(help="Of weights, batches and dropout.")] = (
        Settings.seed
    ),
    every: Annotated[
        int, typer.Option(help="Evaluate and keep a checkpoint after so many steps.")
    ] = 200,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; else CUDA if there is one.")
    ] = None,
    sharded: Annotated[
        bool,
        typer.Option("--sharded", help="Under torchrun: cut the model up (FSDP2)."),
    ] = False,
) -> None:
    """Pretrain a GPT; the same command goes on where it was stopped."""
    settings = Settings(
        source=source,
        size=size,
        steps=steps,
        rows=rows,
        pieces=pieces,
        layers=layers,
        width=width,
        heads=heads,
        context=context,
        vocab_size=vocab_size,
        optimizer=optimizer,
        rate=rate,
        weight_decay=weight_decay,
        warmup=warmup,
        lowest=lowest,
        clip=clip,
        dropout=dropout,
        seed=seed,
    )
    try:
        result = training.run(
            settings, out, device=device, sharded=sharded, every=every
        )
    except training.TrainingError as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)
    if int(os.environ.get("RANK", 0)) == 0:
        print(training.summary(result, out))


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="How the text begins.")] = "",
    model: Annotated[
        str | None,
        typer.Option(
            help="A folder with a model, or the name of a GPT-2 on the hub; else the "
            "model of the course."
        ),
    ] = None,
    tokens: Annotated[int, typer.Option(help="How many to write at most.")] = 200,
    temperature: Annotated[
        float, typer.Option(help="0: always the likeliest; 1: as the model says.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Only the k likeliest.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Only the likeliest that have p together.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same text.")] = (
        None
    ),
    int8: Annotated[
        bool, typer.Option("--int8", help="Keep the weights in 8 bits, on a CPU.")
    ] = False,
) -> None:
    """Write text with a model."""
    sys.exit(
        generation.run(
            prompt,
            where=model,
            tokens=tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            int8=int8,
        )
    )


@app.command()
def serve(
    model: Annotated[
        str | None,
        typer.Option(
            help="A folder with a model, or the name of a GPT-2 on the hub; else the "
            "two models of the course."
        ),
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="The model was tuned to answer.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="Any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.")] = 8001,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of one byte.")] = False,
    token: Annotated[
        str | None,
        typer.Option(help="Demand this token; or set FIVE_SUNDAYS_TOKEN."),
    ] = None,
    slots: Annotated[int, typer.Option(help="Texts that are written at once.")] = 32,
    mine: Annotated[
        bool, typer.Option("--mine", help="The GPT of your own passing answers.")
    ] = False,
) -> None:
    """Serve models to programs, as OpenAI does, and a chat page."""
    from course.serve import run  # what it needs takes a second to import

    run.run(
        model,
        chat=chat,
        host=host,
        port=port,
        int8=int8,
        token=token,
        slots=slots,
        mine=mine,
    )


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A folder with a model, or the name of a GPT-2 on the hub; else the "
            "model of the course."
        ),
    ] = None,
    chat: Annotated[
        bool,
        typer.Option(
            "--chat", help="The model is tuned to answer; without --model the course's."
        ),
    ] = False,
    form: Annotated[
        str | None, typer.Option("--format", help="huggingface or gguf; else both.")
    ] = None,
    gguf_type: Annotated[
        str, typer.Option(help="Of the weights in the GGUF file: f32, f16 or q8_0.")
    ] = "f32",
) -> None:
    """Write a model for other programs: transformers, vLLM, llama.cpp, Ollama."""
    from course.export import command  # what it needs takes a second to import

    command.run(out, where=model, form=form, kind=gguf_type, chat=chat)


def _where_to_start(
    notebooks: dict[Path, Path], parts: list[progress.Part]
) -> Path | None:
    """The notebook with the exercise that comes next."""
    places = {path.stem.replace("-", "_"): place for path, place in notebooks.items()}
    there = [part for part in parts if part.chapter in places]
    following = progress.next_part(there, progress.this_week(known=parts))
    return None if following is None else places[following.chapter]


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("chapter", "exercise", "level", "min", "state", box=box.SIMPLE)
    table.columns[1].no_wrap = True
    chapter = ""
    for outcome in outcomes:
        exercise = outcome.exercise
        table.add_row(
            outcome.chapter.replace("_", "-") if outcome.chapter != chapter else "",
            exercise.name,
            "●" * exercise.difficulty + "○" * (3 - exercise.difficulty),
            str(exercise.minutes),
            outcome.state,
        )
        chapter = outcome.chapter
    return table


def main() -> None:
    """The entry point of `sundays`."""
    app()


if __name__ == "__main__":
    main()
