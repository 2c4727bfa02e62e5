"""`cnncli explain ...`: the commands of the group."""

from cnncli.cli.explain.activations import activations
from cnncli.cli.explain.cam import cam
from cnncli.cli.explain.conv import conv
from cnncli.cli.explain.deconv import deconv
from cnncli.cli.explain.dream import dream
from cnncli.cli.explain.filters import filters
from cnncli.cli.explain.occlusion import occlusion
from cnncli.cli.explain.saliency import saliency
from cnncli.cli.explain.shift import shift
from cnncli.cli.explain.top_patches import top_patches
from cnncli.cli.pages import PageCommand, new_app

app = new_app(
    help="Look inside a network: what its layers look for, and why it answers as it does.", no_args_is_help=True
)
for name, command, summary in (
    ("cam", cam, "Where is the evidence? Grad-CAM and Grad-CAM++."),
    ("occlusion", occlusion, "What does the answer hang on? A sliding patch."),
    ("saliency", saliency, "Which pixels matter? Gradients of the answer."),
    ("activations", activations, "What does a layer answer to a photo?"),
    ("deconv", deconv, "Which part of a photo excites a channel?"),
    ("filters", filters, "What did a layer learn? Its kernels."),
    ("top-patches", top_patches, "Which patches of many photos excite a channel?"),
    ("dream", dream, "What would a channel or a class like to see?"),
    ("shift", shift, "Does the answer stay when the photo moves?"),
    ("conv", conv, "A convolution step by step, in numbers."),
):
    app.command(name, short_help=summary, cls=PageCommand)(command)
