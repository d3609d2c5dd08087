"""Every backbone that has a name and every image backbone of KerasHub, built small.

What exists is asked of the installed packages, so that none is forgotten: `names()` lists them,
`build(name)` makes one of random weights. An image backbone of KerasHub that nobody has written
down here is an error that says so.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import keras
import keras_hub
from keras.src.applications import convnext, densenet, efficientnet, efficientnet_v2, nasnet, resnet

from ktransfer.backbones import torchvision_networks
from ktransfer.backbones.families import TORCHVISION_OF

HUB = "keras_hub."
#: What tells a backbone of language: its constructor must be given a vocabulary.
_VOCABULARIES = ("vocabulary_size", "vocab_size", "text_vocab_size")

#: The least depth that keras.applications lets one ask for, and the least sizes of images.
_OPTIONS: dict[str, dict[str, Any]] = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
}
_SIZES_PX = {"AlexNet": 63, "InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}


def names() -> list[str]:
    """Return all of them; KerasHub's begin with "keras_hub."."""
    named = [*sorted(applications()), *sorted(TORCHVISION_OF)]
    return named + [f"{HUB}{each}" for each in sorted(hub_classes())]


def applications() -> list[str]:
    """Return the constructors of keras.applications: what takes `include_top`."""
    return [
        name
        for name, each in vars(keras.applications).items()
        if inspect.isfunction(each) and "include_top" in inspect.signature(each).parameters
    ]


def hub_classes() -> list[str]:
    """KerasHub's backbones that are not of language alone."""
    found = [
        name
        for name in dir(keras_hub.models)
        if _is_backbone(getattr(keras_hub.models, name)) and not _reads_text(name)
    ]
    # Part of one that reads text, too, and no Backbone by class.
    return [*found, "BLIP2VisionEncoder"]


def _is_backbone(each: Any) -> bool:
    base = keras_hub.models.Backbone
    return inspect.isclass(each) and issubclass(each, base) and each is not base


def _reads_text(name: str) -> bool:
    parameters = inspect.signature(getattr(keras_hub.models, name).__init__).parameters
    # VideoPrism has a vocabulary by the way, and none by default.
    return any(
        each in parameters and parameters[each].default is inspect.Parameter.empty
        for each in _VOCABULARIES
    )


def arguments(name: str) -> tuple[Any, dict[str, Any]]:
    """Say what `FineTuner` is given for a name, and the options beside it.

    Raises:
        LookupError: it is an image backbone of KerasHub that is not written down here.
    """
    if not name.startswith(HUB):
        size = _SIZES_PX.get(name, 32)
        return name, {"weights": None, "input_size": size, **_OPTIONS.get(name, {})}
    short = name.removeprefix(HUB)
    if short not in SMALL:
        raise LookupError(
            f"{name} is new: write down in {__file__} how to build it small, or why not"
        )
    keras.utils.set_random_seed(1)
    return SMALL[short](), {"preprocessing": "tf"}


@contextlib.contextmanager
def shallow() -> Iterator[None]:
    """Have every named family built with its fewest layers, ConvNeXt and AlexNet narrow.

    ConvNeXtXLarge has 350 million numbers, and its constructor takes no depth. What a constructor
    puts together stays what it is; how often it repeats it is in these names of its modules.
    """
    with contextlib.ExitStack() as stack:
        for module, name, value in (
            (convnext, "MODEL_CONFIGS", _narrow(convnext.MODEL_CONFIGS)),
            (densenet, "dense_block", _at_most(densenet.dense_block, blocks=2)),
            (efficientnet, "DEFAULT_BLOCKS_ARGS", _once(efficientnet.DEFAULT_BLOCKS_ARGS)),
            (
                efficientnet_v2,
                "DEFAULT_BLOCKS_ARGS",
                {size: _once(each) for size, each in efficientnet_v2.DEFAULT_BLOCKS_ARGS.items()},
            ),
            (
                efficientnet,
                "EfficientNet",
                _at_most(efficientnet.EfficientNet, depth_coefficient=1),
            ),
            (
                efficientnet_v2,
                "EfficientNetV2",
                _at_most(efficientnet_v2.EfficientNetV2, depth_coefficient=1),
            ),
            (
                nasnet,
                "NASNet",
                _at_most(nasnet.NASNet, num_blocks=1, penultimate_filters=192),
            ),
            (torchvision_networks, "ALEXNET_UNITS", 64),
            (
                torchvision_networks,
                "RESNETS",
                dict.fromkeys(torchvision_networks.RESNETS, (1, 1, 1, 1)),
            ),
            *(
                (resnet, each, _at_most(getattr(resnet, each), blocks=2))
                for each in ("stack_residual_blocks_v1", "stack_residual_blocks_v2")
            ),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        yield


def _narrow(sizes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        size: {
            **each,
            "depths": [1] * len(each["depths"]),
            "projection_dims": [width // 8 for width in each["projection_dims"]],
        }
        for size, each in sizes.items()
    }


def _once(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("repeats", "num_repeat")
    return [{key: 1 if key in names else value for key, value in each.items()} for each in blocks]


def _at_most(build: Callable[..., Any], **most: float) -> Callable[..., Any]:
    """Return a function that builds with arguments no larger than these."""

    @functools.wraps(build)
    def built(*arguments: Any, **options: Any) -> Any:
        given = inspect.signature(build).bind(*arguments, **options)
        for name, value in most.items():
            given.arguments[name] = min(value, given.arguments[name])
        return build(*given.args, **given.kwargs)

    return built


def _resnet(size: int | None = 64) -> keras.Model:
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 16, 16, 16],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(size, size, 3),
    )


def _hgnet() -> keras.Model:
    return keras_hub.models.HGNetV2Backbone(
        depths=[1, 1, 1, 1],
        embedding_size=8,
        hidden_sizes=[16, 16, 32, 32],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[
            (8, 8, 16, 1, 2, 3),
            (16, 8, 16, 1, 2, 3),
            (16, 8, 32, 1, 2, 3),
            (32, 16, 32, 1, 2, 3),
        ],
        apply_downsample=[False, True, True, True],
        use_lightweight_conv_block=[False, False, True, True],
        image_shape=(64, 64, 3),
    )


def _mit() -> keras.Model:
    return keras_hub.models.MiTBackbone(
        layerwise_depths=[1, 2],
        num_layers=2,
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        image_shape=(32, 32, 3),
        hidden_dims=[8, 16],
    )


def _vit_det() -> keras.Model:
    return keras_hub.models.ViTDetBackbone(
        hidden_size=16,
        num_layers=2,
        intermediate_dim=32,
        num_heads=2,
        global_attention_layer_indices=[1],
        image_shape=(32, 32, 3),
        patch_size=8,
        num_output_channels=8,
        window_size=2,
    )


def _vision(name: str, **more: Any) -> Callable[[], keras.Model]:
    """Return the vision encoders of CLIP and its kin take the same arguments."""
    return lambda: getattr(keras_hub.models, name)(
        patch_size=8,
        hidden_dim=16,
        num_layers=2,
        num_heads=2,
        intermediate_dim=32,
        image_shape=(32, 32, 3),
        **more,
    )


def _dinov2() -> keras.Model:
    return _vision("DINOV2Backbone", position_embedding_shape=(32, 32, 3))()


def _d_fine() -> keras.Model:
    hgnet = keras_hub.models.HGNetV2Backbone(
        depths=[1, 1],
        embedding_size=8,
        hidden_sizes=[16, 32],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[(8, 8, 16, 1, 2, 3), (16, 8, 32, 1, 2, 3)],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, False],
        image_shape=(None, None, 3),
        out_features=["stage1", "stage2"],
    )
    return keras_hub.models.DFineBackbone(
        backbone=hgnet,
        decoder_in_channels=[16, 16],
        encoder_hidden_dim=16,
        num_labels=4,
        num_denoising=0,
        learn_initial_query=False,
        num_queries=10,
        anchor_image_size=(64, 64),
        feat_strides=[4, 8],
        num_feature_levels=2,
        hidden_dim=16,
        encoder_in_channels=[16, 32],
        encode_proj_layers=[1],
        num_attention_heads=2,
        encoder_ffn_dim=16,
        num_encoder_layers=1,
        hidden_expansion=0.5,
        depth_multiplier=0.5,
        eval_idx=-1,
        num_decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        decoder_n_points=[2, 2],
        lqe_hidden_dim=8,
        num_lqe_layers=2,
        image_shape=(64, 64, 3),
        seed=0,
    )


#: Those that read no single image, or are no network by themselves, and what to give instead.
OTHERS = {
    "BLIP2Backbone": "reads images and text; give its vision_encoder",
    "CLIPBackbone": "reads images and text; give its vision_encoder",
    "FeaturePyramidBackbone": "is the class that others inherit from",
    "FluxBackbone": "makes images of text",
    "MetaCLIP2Backbone": "reads images and text; give its vision_encoder",
    "SAM3PromptableConceptBackbone": "reads images, text and boxes",
    "SAMBackbone": "reads images, points, boxes and masks; give its image_encoder",
    "SigLIPBackbone": "reads images and text; give its vision_encoder",
    "StableDiffusion3Backbone": "makes images of text",
    "VideoPrismBackbone": "reads videos",
}

#: How each image backbone of KerasHub is built small.
SMALL: dict[str, Callable[[], keras.Model]] = {
    "BASNetBackbone": lambda: keras_hub.models.BASNetBackbone(
        _resnet(None), num_classes=1, image_shape=(64, 64, 3), projection_filters=64
    ),
    "BLIP2VisionEncoder": lambda: keras_hub.models.BLIP2VisionEncoder(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        use_patch_bias=True,
        use_class_token=True,
        use_mha_bias=True,
        use_mlp_bias=True,
        dropout_rate=0.0,
        layer_norm_epsilon=1e-6,
        initializer_range=0.02,
    ),
    "CLIPVisionEncoder": _vision("CLIPVisionEncoder"),
    "CSPNetBackbone": lambda: keras_hub.models.CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=2,
        stackwise_depth=[1, 1, 1],
        stackwise_strides=[1, 2, 2],
        stackwise_num_filters=[8, 16, 16],
        block_type="dark_block",
        stage_type="csp",
        block_ratio=[0.5],
        image_shape=(32, 32, 3),
    ),
    "DFineBackbone": _d_fine,
    "DINOV2Backbone": _dinov2,
    "DINOV3Backbone": _vision("DINOV3Backbone"),
    "DeepLabV3Backbone": lambda: keras_hub.models.DeepLabV3Backbone(
        image_encoder=_resnet(),
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[1, 2],
        low_level_feature_key="P2",
        projection_filters=8,
        image_shape=(64, 64, 3),
    ),
    "DeiTBackbone": lambda: keras_hub.models.DeiTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
    ),
    "DenseNetBackbone": lambda: keras_hub.models.DenseNetBackbone(
        stackwise_num_repeats=[1, 1, 1], growth_rate=8, image_shape=(32, 32, 3)
    ),
    "DepthAnythingBackbone": lambda: keras_hub.models.DepthAnythingBackbone(
        image_encoder=keras_hub.models.DINOV2Backbone(
            patch_size=14,
            num_layers=4,
            hidden_dim=16,
            num_heads=2,
            intermediate_dim=32,
            image_shape=(112, 112, 3),
            position_embedding_shape=(112, 112, 3),
        ),
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[8, 8, 8, 8],
        fusion_hidden_dim=16,
        head_hidden_dim=8,
        head_in_index=-1,
        feature_keys=["stage1", "stage2", "stage3", "stage4"],
    ),
    "EfficientNetBackbone": lambda: keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[0.25, 0.25],
        stackwise_depth_coefficients=[1.0, 1.0],
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 2],
        stackwise_input_filters=[32, 16],
        stackwise_output_filters=[16, 24],
        stackwise_expansion_ratios=[1, 6],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
        stackwise_strides=[1, 2],
        stackwise_block_types=["v1", "v1"],
        # Not `num_features`: KerasHub 0.32 leaves it out of the configuration.
        input_shape=(32, 32, 3),
    ),
    "HGNetV2Backbone": _hgnet,
    "MetaCLIP2VisionEncoder": _vision("MetaCLIP2VisionEncoder"),
    "MiTBackbone": _mit,
    "MobileNetBackbone": lambda: keras_hub.models.MobileNetBackbone(
        stackwise_expansion=[[16, 16], [32]],
        stackwise_num_blocks=[2, 1],
        stackwise_num_filters=[[8, 8], [16]],
        stackwise_kernel_size=[[3, 3], [5]],
        stackwise_num_strides=[[2, 1], [2]],
        stackwise_se_ratio=[[None, None], [0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish"]],
        stackwise_padding=[[1, 1], [2]],
        output_num_filters=32,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        last_layer_filter=16,
        squeeze_and_excite=0.5,
        image_shape=(32, 32, 3),
    ),
    "MobileNetV5Backbone": lambda: keras_hub.models.MobileNetV5Backbone(
        stackwise_block_types=[["er"], ["uir", "uir"]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[8], [16, 16]],
        stackwise_strides=[[2], [2, 1]],
        stackwise_act_layers=[["relu"], ["relu", "relu"]],
        stackwise_exp_ratios=[[4.0], [6.0, 6.0]],
        stackwise_se_ratios=[[0.0], [0.0, 0.0]],
        stackwise_dw_kernel_sizes=[[0], [5, 5]],
        stackwise_dw_start_kernel_sizes=[[0], [0, 0]],
        stackwise_dw_end_kernel_sizes=[[0], [0, 0]],
        stackwise_exp_kernel_sizes=[[3], [0, 0]],
        stackwise_pw_kernel_sizes=[[1], [0, 0]],
        stackwise_num_heads=[[0], [0, 0]],
        stackwise_key_dims=[[0], [0, 0]],
        stackwise_value_dims=[[0], [0, 0]],
        stackwise_kv_strides=[[0], [0, 0]],
        stackwise_use_cpe=[[False], [False, False]],
        use_msfa=False,
        image_shape=(32, 32, 3),
    ),
    "ResNetBackbone": lambda: _resnet(32),
    "RetinaNetBackbone": lambda: keras_hub.models.RetinaNetBackbone(
        image_encoder=_resnet(), min_level=3, max_level=5, use_p5=False, image_shape=(64, 64, 3)
    ),
    "SegFormerBackbone": lambda: keras_hub.models.SegFormerBackbone(
        image_encoder=_mit(), projection_filters=8
    ),
    "SigLIPVisionEncoder": _vision("SigLIPVisionEncoder"),
    "SwinTransformerBackbone": lambda: keras_hub.models.SwinTransformerBackbone(
        image_shape=(32, 32, 3), embed_dim=8, depths=(1, 2), num_heads=(1, 2), window_size=4
    ),
    "VGGBackbone": lambda: keras_hub.models.VGGBackbone(
        stackwise_num_repeats=[1, 1], stackwise_num_filters=[8, 16], image_shape=(32, 32, 3)
    ),
    "ViTBackbone": lambda: keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    ),
    "ViTDetBackbone": _vit_det,
    "XceptionBackbone": lambda: keras_hub.models.XceptionBackbone(
        stackwise_conv_filters=[[8, 8], [16, 16], [16, 16]],
        stackwise_pooling=[True, True, False],
        image_shape=(32, 32, 3),
    ),
}
