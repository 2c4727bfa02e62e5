"""AlexNet in its single-GPU form, as torchvision has it.

Sources: Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural Networks"; Krizhevsky 2014,
"One weird trick for parallelizing convolutional neural networks": the widths, and no response normalisation.
"""

from functools import partial

from cnncli.nn.backbones.torchvision_maps import children_of, end_of, wrapped

alexnet = partial(wrapped, "alexnet", children_of("features"))
published_head = end_of(maps=("avgpool",), vectors=("classifier",))
