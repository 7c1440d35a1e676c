"""Captions of photos and video clips: what the plugin registers. The work is in the modules that the specs name."""

from __future__ import annotations

from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import Archive, ComparisonSpec, DatasetSpec, MetricSpec, ModelSpec, Option, RecipeSpec, TaskSpec

CONDGEN_API = "2"

KINDS = ("photo", "clip")
"""Kinds of files that are described."""

_METRICS = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider")

_FLICKR8K = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"


@hookimpl
def condgen_register_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="caption",
            help="Describe photos and video clips, and show where the model looked.",
            reader="condgen_caption.task:read",
            metrics=_METRICS,
            kinds=KINDS,
            inputs="condgen_caption.cli:caption",
            options=("search", "sampling", "force", "attention"),
            option_help={
                "model": "A model of the zoo, or a training run's folder.  [default: sat for photos, sat-video for videos]"
            },
        )
    ]


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="caption",
            task="caption",
            build="condgen_caption.model:build",
            experiment="condgen_caption.training:CaptionExperiment",
            help="A convolutional encoder and an LSTM that reads its vector (NIC) or attends to its map (SAT).",
        ),
        ModelSpec(
            name="caption-video",
            task="caption",
            build="condgen_caption.video:build",
            experiment="condgen_caption.video_training:VideoExperiment",
            help="The same encoder on the frames of a clip; the decoder attends to frames or reads their mean.",
            own_data=(("data.scenes",),),
        ),
        ModelSpec(
            name="efficientnet-lite",
            task="caption",
            build="condgen_caption.model:build_encoder",
            help="The encoder alone, with which training of caption models starts.",
        ),
    ]


_PHOTOS_AND_CAPTIONS = (
    Archive("Flickr8k_Dataset.zip", (f"{_FLICKR8K}/Flickr8k_Dataset.zip",), md5="f18a1e2920de5bd84dae7cf08ec78978"),
    Archive("Flickr8k_text.zip", (f"{_FLICKR8K}/Flickr8k_text.zip",), md5="bf6c1abcb8e4a833b7f922104de18627"),
)


_COCO = "http://images.cocodataset.org"

_COCO_FILES = (
    Archive(
        "annotations_trainval2017.zip",
        (f"{_COCO}/annotations/annotations_trainval2017.zip",),
        md5="f4bbac642086de4f52a3fdda2de5fa2c",
        size=252_907_541,
        sets=("2017",),
    ),
    Archive(
        "val2017.zip",
        (f"{_COCO}/zips/val2017.zip",),
        md5="442b8da7639aecaf257c1dceb8ba8c80",
        size=815_585_330,
        sets=("2017",),
    ),
    Archive(
        "train2017.zip",
        (f"{_COCO}/zips/train2017.zip",),
        md5="cced6f7f71b7629ddf16f17bbcfab6b2",
        size=19_336_861_798,
        sets=("2017",),
    ),
    Archive(
        "annotations_trainval2014.zip",
        (f"{_COCO}/annotations/annotations_trainval2014.zip",),
        md5="0a379cfc70b0e71301e0f377548639bd",
        size=252_872_794,
        sets=("2014",),
    ),
    Archive("val2014.zip", (f"{_COCO}/zips/val2014.zip",), size=6_645_013_297, sets=("2014",)),
    Archive("train2014.zip", (f"{_COCO}/zips/train2014.zip",), size=13_510_573_713, sets=("2014",)),
)


@hookimpl
def condgen_register_datasets() -> list[DatasetSpec]:
    return [
        DatasetSpec(
            name="flickr8k",
            task="caption",
            help="8,000 photos of people and animals, five captions each; the official 6,000/1,000/1,000 split.",
            open="condgen_caption.data:flickr8k",
            licence="non-commercial research and education; photos remain their owners'",
            homepage="https://hockenmaier.cs.illinois.edu/8k-pictures.html",
            archives=_PHOTOS_AND_CAPTIONS,
        ),
        DatasetSpec(
            name="coco",
            task="caption",
            help="Photos of everyday scenes, five captions each, and boxes of 80 kinds of things (Lin et al. 2014).",
            open="condgen_caption.coco:coco",
            options={
                "subset": Option("Year of the publisher's files; empty: what is there.", "", ("2014", "2017")),
                "boxes": Option("Whether to read boxes for the training split too.", "no", ("yes", "no")),
            },
            licence="captions and boxes CC BY 4.0; photos remain their owners'",
            homepage="https://cocodataset.org",
            archives=_COCO_FILES,
            metrics=(*_METRICS, "things", "things_named"),
        ),
        DatasetSpec(
            name="flickr8k-clips",
            task="caption",
            help="Clips of one to three scenes made of Flickr8k's photos, over which a camera pans and zooms.",
            open="condgen_caption.clips:flickr8k_clips",
            options={"scenes": Option("Scenes per clip.", "mixed", ("1", "2", "3", "mixed"))},
            licence="non-commercial research and education; photos remain their owners'",
            homepage="https://hockenmaier.cs.illinois.edu/8k-pictures.html",
            archives=_PHOTOS_AND_CAPTIONS,
            metrics=(*_METRICS, "grounding", "grounding_chance"),
        ),
        DatasetSpec(
            name="msvd",
            task="caption",
            help="1,970 clips from YouTube of one action each, about 40 captions each (Chen & Dolan 2011); 1,200/100/670.",
            open="condgen_caption.video_data:msvd",
            licence="for research; videos remain their owners'",
            homepage="https://www.cs.utexas.edu/users/ml/clamp/videoDescription/",
        ),
        DatasetSpec(
            name="msr-vtt",
            task="caption",
            help="10,000 clips of the web, 20 captions each (Xu et al. 2016); 6,513/497/2,990.",
            open="condgen_caption.video_data:msr_vtt",
            licence="for research; videos remain their owners'",
            homepage="https://www.microsoft.com/en-us/research/publication/msr-vtt",
        ),
        DatasetSpec(
            name="captioned-folder",
            task="caption",
            help="Your own photos: a folder with captions as TSV or JSONL.",
            open="condgen_caption.data:folder",
            licence="yours",
        ),
    ]


@hookimpl
def condgen_register_metrics() -> list[MetricSpec]:
    return [
        MetricSpec(
            ("grounding", "grounding_chance"),
            "condgen_caption.metrics:Grounding",
            "attention on the frames of the scene that a word describes, percent; and the value for uniform attention",
            text=False,
        ),
        MetricSpec(
            ("pointing", "pointing_centre", "mass", "box_area"),
            "condgen_caption.pointing:Pointing",
            "a noun's map on the boxes of its class: strongest place, the photo's centre, weights, an even map; percent",
            text=False,
        ),
        MetricSpec(
            ("things", "things_named"),
            "condgen_caption.rightness:Rightness",
            "kinds of things that captions name and a reference names too, percent; and how many a caption names",
        ),
    ]


@hookimpl
def condgen_register_recipes() -> list[RecipeSpec]:
    names = ("sat", "sat-video", "nic-video", "nic")
    return [RecipeSpec(name, "caption", "condgen_caption.recipes", f"{name}.toml") for name in names]


@hookimpl
def condgen_register_comparisons() -> list[ComparisonSpec]:
    comparisons = {"maps": "Size of the feature map that is attended to."}
    return [
        ComparisonSpec(f"caption-{name}", "caption", "condgen_caption.comparisons", f"{name}.toml", help)
        for name, help in comparisons.items()
    ]
