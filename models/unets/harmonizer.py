"""Makes a drawn face belong to its picture: what to add to it, told from it and from what is around it.

A U-Net (Ronneberger et al. 2015) for image harmonization (Tsai et al. 2017, Deep Image Harmonization), which sees a
face that was drawn, and hair, ears, neck and background of the frame; of the person's own face it sees nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.onnx_graph import OnnxGraph
from models.unets.unet import SLOPE, ResidualBlocks, active, double

if TYPE_CHECKING:
    from models.cpu_network import CpuNetwork

HARMONIZED_SIZE = 128  # pixels, the side of what it sees
WIDTHS = (24, 48, 80)  # channels at a half, a quarter, and at an eighth and a sixteenth of that
FOLD = 2  # pixels to a side that are one place of the first layer


class Harmonizer(nn.Module):
    """The network; 1.0 M parameters. Fresh, it adds nothing to speak of."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.enter = nn.Conv2d(4 * FOLD**2, fine, 3, padding=1)
        self.fine_in = ResidualBlocks(fine, 1)
        self.down1 = nn.Conv2d(fine, middle, 4, stride=2, padding=1)
        self.middle_in = ResidualBlocks(middle, 2)
        self.down2 = nn.Conv2d(middle, coarse, 4, stride=2, padding=1)
        self.coarse_in = ResidualBlocks(coarse, 2)
        self.down3 = nn.Conv2d(coarse, coarse, 4, stride=2, padding=1)
        self.coarsest = ResidualBlocks(coarse, 2)
        self.up3 = nn.Conv2d(coarse, coarse, 3, padding=1)
        self.coarse_out = ResidualBlocks(coarse, 1)
        self.up2 = nn.Conv2d(coarse, middle, 3, padding=1)
        self.middle_out = ResidualBlocks(middle, 1)
        self.up1 = nn.Conv2d(middle, fine, 3, padding=1)
        self.fine_out = ResidualBlocks(fine, 2)
        self.to_rgb = nn.Conv2d(fine, 3 * FOLD**2, 3, padding=1)
        with torch.no_grad():
            self.to_rgb.weight *= 0.05
            self.to_rgb.bias = nn.Parameter(torch.zeros(3 * FOLD**2))
        self._on_cpu: CpuNetwork | None = None

    def forward(self, pictures: Tensor, drawn: Tensor) -> Tensor:
        """Return what to add to `pictures`, `(N, 3, S, S)`; 0 where nothing was drawn.

        Args:
            pictures: `(N, 3, S, S)` RGB in [-1, 1]; S is `HARMONIZED_SIZE`.
            drawn: `(N, 1, S, S)` in [0, 1], how strongly the face was drawn over the frame.
        """
        folded = F.pixel_unshuffle(torch.cat([pictures, 2 * drawn - 1], dim=1), FOLD)
        made = self._on_cpu(folded) if self._on_cpu and not torch.is_grad_enabled() else self._change(folded)
        return drawn * F.pixel_shuffle(made, FOLD)

    def settle(self) -> None:
        """Let OpenCV run the network, where this is on the CPU; later changes of the weights do not reach it."""
        from models.cpu_network import CpuNetwork

        self._on_cpu = CpuNetwork(self._file()) if self.enter.weight.device.type == "cpu" else None

    def _change(self, folded: Tensor) -> Tensor:
        fine = self.fine_in(self.enter(folded))
        middle = self.middle_in(self.down1(active(fine)))
        coarse = self.coarse_in(self.down2(active(middle)))
        coarsest = self.coarsest(self.down3(active(coarse)))
        coarse = self.coarse_out(coarse + self.up3(double(active(coarsest))))
        middle = self.middle_out(middle + self.up2(double(active(coarse))))
        fine = self.fine_out(fine + self.up1(double(active(middle))))
        made: Tensor = self.to_rgb(active(fine))
        return made

    def _file(self) -> bytes:
        """Return the ONNX file of what `_change` does."""
        graph = OnnxGraph()

        def down(features: str, layer: nn.Conv2d) -> str:
            return graph.conv(graph.leaky_relu(features, SLOPE), layer)

        def up(features: str, layer: nn.Conv2d) -> str:
            return graph.conv(graph.enlarged(graph.leaky_relu(features, SLOPE), 2.0), layer)

        fine = self.fine_in.written(graph, graph.conv("input", self.enter))
        middle = self.middle_in.written(graph, down(fine, self.down1))
        coarse = self.coarse_in.written(graph, down(middle, self.down2))
        coarsest = self.coarsest.written(graph, down(coarse, self.down3))
        coarse = self.coarse_out.written(graph, graph.add(coarse, up(coarsest, self.up3)))
        middle = self.middle_out.written(graph, graph.add(middle, up(coarse, self.up2)))
        fine = self.fine_out.written(graph, graph.add(fine, up(middle, self.up1)))
        made = down(fine, self.to_rgb)
        side = HARMONIZED_SIZE // FOLD
        return graph.file((1, 4 * FOLD**2, side, side), made, (1, 3 * FOLD**2, side, side))
