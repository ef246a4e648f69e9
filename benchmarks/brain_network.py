"""The network of `examples/brain_extraction.py` on one head beside other libraries.

    python benchmarks/brain_network.py --python torch=EXE --python tensorflow=EXE

Inference of a 3-D U-Net on 128^3 voxels with random weights. Each library runs in a process of its
own, in turns.
"""

import sys

import networks

if __name__ == "__main__":
    sys.exit(networks.main("brain", "The brain network on one head."))
