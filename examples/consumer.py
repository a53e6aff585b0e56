# SPDX-License-Identifier: MIT
"""Follows the bright spot in the frames of producer.py, each read where the producer drew it.

python examples/consumer.py
"""

import shmq


def main() -> None:
    """Wait for the camera, then look for the brightest point of every frame until there are no more."""
    spots = {}
    with shmq.Region.attach("camera", timeout=60) as region:
        for frame in region.receiver("frames"):
            with frame:
                row, column = divmod(int(frame.array.argmax()), frame.shape[1])
                spots[frame.label] = row, column
                if frame.label % 100 == 0:
                    print(f"frame {frame.label}: spot at row {row}, column {column}")
    right = sum(spot == ((7 * number) % 720, (11 * number) % 1280) for number, spot in spots.items())
    print(f"{len(spots)} frames seen, the spot found in {right}")


if __name__ == "__main__":
    main()
