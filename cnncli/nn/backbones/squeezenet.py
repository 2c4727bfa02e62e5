"""SqueezeNet: fire modules, which squeeze to few channels before they expand, as torchvision has them.

Source: Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", table 1; 1.1 is the
authors' later release, with earlier pools.
"""

from functools import partial

from cnncli.nn.backbones.torchvision_maps import children_of, end_of, wrapped

squeezenet1_0 = partial(wrapped, "squeezenet1_0", children_of("features"))
squeezenet1_1 = partial(wrapped, "squeezenet1_1", children_of("features"))
published_head = end_of(maps=("classifier",))
