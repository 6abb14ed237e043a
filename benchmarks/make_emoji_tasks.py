"""Write hf_unlearn/demo/tasks.json: the fixed lists of classes of `emoji10`, `emoji100` and `moderation`.

    python benchmarks/make_emoji_tasks.py        # after make_emoji_images.py wrote the shipped archive

Classes of a draw come, by seed, from the shipped everyday things that at least three training
artists and one validation artist have drawn; the first 4 of 10 and 40 of 100 are forgotten.
"""

import json
import random

ALCOHOL = (
    "beer mug", "clinking beer mugs", "wine glass", "cocktail glass", "tropical drink", "sake",
    "bottle with popping cork", "clinking glasses", "tumbler glass",
)  # fmt: skip
WEAPONS = ("bomb", "dagger", "crossed swords", "bow and arrow")
GAMBLING = ("slot machine", "game die", "joker", "flower playing cards", "mahjong red dragon", "spade suit")
TOBACCO = ("cigarette",)
EVERYDAY = (
    "red apple", "banana", "strawberry", "pizza", "hamburger", "bread", "cookie", "birthday cake",
    "hot beverage", "baby bottle", "fork and knife", "cat face", "dog face", "rabbit face", "penguin",
    "tropical fish", "bicycle", "bus", "airplane", "sailboat", "house", "umbrella with rain drops",
    "laptop", "mobile phone", "camera", "guitar", "soccer ball", "basketball", "key", "scissors",
    "hammer", "light bulb", "glasses", "jeans", "running shoe", "alarm clock", "evergreen tree",
    "rose", "sunflower", "balloon",
)  # fmt: skip
MODERATION = {"forget": [*ALCOHOL, *WEAPONS, *GAMBLING, *TOBACCO], "names": []}
MODERATION["names"] = [*MODERATION["forget"], *EVERYDAY]


def main() -> None:
    from make_emoji_images import PROFESSIONS

    from hf_unlearn.demo import emoji_tasks as demo

    pool = [
        name
        for name, concept in sorted(demo.concepts().items())
        if concept["category"] not in ("People & Body", "Smileys & Emotion")
        and not any(job in name.split() for job in PROFESSIONS)
        and len(demo.drawings(name, "train")) >= 3
        and len(demo.drawings(name, "validation")) >= 1
    ]
    lists = {"moderation": [MODERATION]}
    for task, draws, size, gone in (("emoji10", 20, 10, 4), ("emoji100", 5, 100, 40)):
        draw = random.Random(f"{task} 2024")
        lists[task] = []
        for _ in range(draws):
            names = draw.sample(pool, size)
            lists[task].append({"forget": names[:gone], "names": names})
    lines = [f'"{task}": [\n' + ",\n".join(json.dumps(entry) for entry in of) + "\n]" for task, of in lists.items()]
    demo.TASKS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")
    print(f"{demo.TASKS}: {len(pool)} classes to draw from")


if __name__ == "__main__":
    main()
