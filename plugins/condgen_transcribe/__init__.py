"""Speech recognition: what the plugin registers. The work is in the modules that the specs name."""

from __future__ import annotations

from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import Archive, ComparisonSpec, DatasetSpec, MetricSpec, ModelSpec, Option, RecipeSpec, TaskSpec

CONDGEN_API = "2"

AUDIO_SUFFIXES = (
    ".flac",
    ".wav",
    ".opus",
    ".ogg",
    ".oga",
    ".mp3",
    ".aiff",
    ".aif",
    ".aifc",
    ".au",
    ".caf",
    ".w64",
    ".sph",
)
FILM_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".webm", ".mkv", ".avi", ".3gp", ".3g2", ".wmv", ".asf", ".flv", ".f4v", ".mpg", ".mpeg"),
    *(".m2ts", ".vob", ".ogv", ".mxf", ".rm", ".rmvb", ".divx", ".dv", ".wtv", ".nut"),
)
"""Of films, whose sound is heard."""

_LIBRISPEECH_URLS = (
    "https://www.openslr.org/resources/12",
    "https://us.openslr.org/resources/12",
    "https://openslr.elda.org/resources/12",
)
_LIBRISPEECH_SUBSETS = {
    "dev-clean": (337926286, "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": (314305928, "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": (346663984, "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": (328757843, "fb5a50374b501bb3bac4815ee91d3135"),
    "train-clean-100": (6387309499, "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": (23049477885, "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": (30593501606, "d1a0fd59409feb2c614ce4d30c387708"),
}
"""Size and MD5 of the archives as published."""


@hookimpl
def condgen_register_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="transcribe",
            help="Write down speech, and show where the model listened.",
            reader="condgen_transcribe.task:read",
            metrics=("wer", "cer", "substitutions", "deletions", "insertions", "rtf"),
            suffixes=AUDIO_SUFFIXES + FILM_SUFFIXES,
            kinds=("sound",),
            details=("words",),
            formats={"srt": "condgen_transcribe.subtitles:srt", "vtt": "condgen_transcribe.subtitles:vtt"},
            inputs="condgen_transcribe.cli:transcribe",
            model="las",
            options=("search", "scorers", "sampling", "force", "attention"),
            option_help={
                "format": "How results are printed; srt and vtt are subtitles.  [default: by the suffix of -o, else text]"
            },
        )
    ]


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="transcribe",
            task="transcribe",
            build="condgen_transcribe.model:build",
            experiment="condgen_transcribe.training:TranscribeExperiment",
            help="Listen, Attend and Spell: bidirectional LSTMs listen, a speller with attention writes; CTC on the listener.",
            own_data=(
                ("data.language_model", "model.language_model", "decoding.weights.language_model"),
                ("data.dictionary", "model.phones", "objective.phones", "decoding.weights.phones"),
                ("data.words", "model.words", "decoding.weights.words"),
            ),
        ),
        ModelSpec(
            name="speech-language-model",
            task="transcribe",
            build="condgen_transcribe.language_model:build",
            experiment="condgen_transcribe.language_model:LanguageModelExperiment",
            help="A language model of transcripts, a part of speech models.",
            own_data=(("data.text",),),
        ),
    ]


@hookimpl
def condgen_register_datasets() -> list[DatasetSpec]:
    return [
        DatasetSpec(
            name="librispeech",
            task="transcribe",
            help="English audiobooks read aloud, up to 960 hours of training speech in parts.",
            open="condgen_transcribe.librispeech:librispeech",
            options={
                "subset": Option("Parts to read instead of the split's own, between commas; pull: the one to fetch."),
                "hours": Option("Only so many hours of the training speech, drawn evenly over its speakers."),
            },
            licence="CC BY 4.0",
            homepage="https://www.openslr.org/12/",
            archives=tuple(
                Archive(
                    f"{name}.tar.gz",
                    tuple(f"{url}/{name}.tar.gz" for url in _LIBRISPEECH_URLS),
                    md5=md5,
                    size=size,
                    sets=(name,),
                )
                for name, (size, md5) in _LIBRISPEECH_SUBSETS.items()
            ),
        ),
        DatasetSpec(
            name="an4",
            task="transcribe",
            help="English letters, numbers and commands, an hour (CMU Census): 848/100/130 utterances.",
            open="condgen_transcribe.an4:an4",
            licence="free for any purpose under the notice of its LICENSE (Carnegie Mellon University)",
            homepage="http://www.speech.cs.cmu.edu/databases/an4/",
        ),
        DatasetSpec(
            name="audio-folder",
            task="transcribe",
            help="Your own recordings: a folder with transcripts as TSV.",
            open="condgen_transcribe.audio_folder:audio_folder",
            options={"tsv": Option("File of paths and transcripts; {split} in it stands for the split.", "{split}.tsv")},
            licence="yours",
        ),
    ]


@hookimpl
def condgen_register_metrics() -> list[MetricSpec]:
    help = "real-time factor: seconds of wall clock for a second of sound"
    return [MetricSpec(("rtf",), "condgen_transcribe.metrics:RealTimeFactor", help, text=False)]


@hookimpl
def condgen_register_recipes() -> list[RecipeSpec]:
    names = ("las", "las-an4")
    return [RecipeSpec(name, "transcribe", "condgen_transcribe.recipes", f"{name}.toml") for name in names]


@hookimpl
def condgen_register_comparisons() -> list[ComparisonSpec]:
    help = "One, two, four and all eight hours of speech."
    return [ComparisonSpec("transcribe-hours", "transcribe", "condgen_transcribe.comparisons", "hours.toml", help)]
