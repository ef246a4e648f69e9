"""A training step of the network of `examples/train_tissue.py` beside other libraries.

    python benchmarks/training_step.py --python torch=EXE --python tensorflow=EXE

Forward, both gradients and Adam's update of a small 3-D U-Net with batch normalization on 4 patches
of 32^3 voxels. Each library runs in a process of its own, in turns; the last column shows that
they learn alike (the loss; weights start at random).
"""

import sys

import networks

if __name__ == "__main__":
    sys.exit(networks.main("tissue", "A training step of the tissue network."))
