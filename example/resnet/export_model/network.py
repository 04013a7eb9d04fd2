"""ResNet-50, the variant whose 3x3 convolutions have the stride."""

from mindspore import nn

BLOCKS_OF_STAGES = (3, 4, 6, 3)


class ResNet50(nn.Cell):
    """Scores [N, classes] for images [N, 3, H, W]; H and W are multiples of 32. All weights are zero at first."""

    def __init__(self, classes=1000):
        super().__init__()
        stages = []
        inputs, width = 64, 64
        for index, blocks in enumerate(BLOCKS_OF_STAGES):
            for block in range(blocks):
                stages.append(Bottleneck(inputs, width, stride=2 if index and block == 0 else 1))
                inputs = 4 * width
            width *= 2
        self.stem = nn.SequentialCell(
            convolution(3, 64, 7, 2), normalisation(64), nn.ReLU(), nn.MaxPool2d(3, 2, pad_mode="same")
        )
        self.stages = nn.SequentialCell(stages)
        self.classifier = nn.Dense(inputs, classes, weight_init="zeros", bias_init="zeros")

    def construct(self, x):
        features = self.stages(self.stem(x)).mean((2, 3))  # [N, 2048], averages over all places
        return self.classifier(features)


class Bottleneck(nn.Cell):
    """Adds to [N, inputs, H, W] what three convolutions find, 1x1, 3x3 and 1x1; the last has 4 * width outputs."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.residual = nn.SequentialCell(
            convolution(inputs, width, 1),
            normalisation(width),
            nn.ReLU(),
            convolution(width, width, 3, stride),
            normalisation(width),
            nn.ReLU(),
            convolution(width, 4 * width, 1),
            normalisation(4 * width, scale=0.25),  # so that sixteen sums do not grow without training
        )
        if inputs == 4 * width and stride == 1:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = nn.SequentialCell(
                convolution(inputs, 4 * width, 1, stride), normalisation(4 * width)
            )
        self.relu = nn.ReLU()

    def construct(self, x):
        return self.relu(self.residual(x) + self.shortcut(x))


def convolution(inputs, outputs, kernel, stride=1):
    """Without a bias, as a normalisation follows."""
    return nn.Conv2d(inputs, outputs, kernel, stride, "pad", kernel // 2, has_bias=False, weight_init="zeros")


def normalisation(channels, scale=1.0):
    return nn.BatchNorm2d(channels, gamma_init=scale)
