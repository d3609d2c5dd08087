"""KerasHub's networks taken apart: transformers into their blocks, pyramids into their maps."""

from __future__ import annotations

import math
from typing import Any

import keras

from ktransfer.backbones.serialization import mend_saving
from ktransfer.errors import InputError


def expanded(network: keras.Model) -> keras.Model:
    """Return the same network with its blocks in a row instead of inside one layer.

    Args:
        network: a backbone of KerasHub; its layers are used where their names allow it.

    Returns:
        A functional model for ViT, BLIP2's encoder, DeiT, DINOv2, DINOv3, Swin and HGNetV2; any
        other network as it is.
    """
    mend_saving(network.layers)
    if type(network).__name__ == "SwinTransformerBackbone":
        return _expanded_swin(network)
    if type(network).__name__ == "HGNetV2Backbone":
        return _expanded_hgnet(network)
    if type(network).__name__ == "DINOV2Backbone":
        return _expanded_dinov2(network)
    if type(network).__name__ == "DINOV3Backbone" and all(network.inputs[0].shape[1:]):
        return _expanded_dinov3(network)
    encoders = [layer for layer in network.layers if hasattr(layer, "encoder_layers")]
    if type(network).__name__ == "DeiTBackbone":
        return _expanded_deit(network, encoders[0])
    if type(network).__name__ not in _OF_ONE_ENCODER or len(encoders) != 1:
        return network
    encoder = encoders[0]
    tokens = encoder.dropout(encoder.input)
    for block in encoder.encoder_layers:
        tokens = block(tokens)
    return keras.Model(network.inputs, encoder.layer_norm(tokens), name=network.name)


#: An embedding, and one layer with all blocks: BLIP2's is that of ViT.
_OF_ONE_ENCODER = ("ViTBackbone", "BLIP2VisionEncoder")


def _expanded_deit(network: keras.Model, encoder: Any) -> keras.Model:
    """Expand DeiT's blocks: they return None beside the tokens, which no graph can hold.

    ViT's block is the same without dropout, and returns the tokens alone. With dropout, which
    comes at other places there, a block is taken apart into its two halves.
    """
    tokens = encoder.input
    for block in encoder.encoder_layers:
        tokens = _half_by_half(block, tokens) if block.dropout_rate else _as_vit(block, tokens)
    return keras.Model(network.inputs, encoder.layer_norm(tokens), name=network.name)


def _as_vit(block: Any, tokens: Any) -> Any:
    from keras_hub.src.models.vit.vit_layers import ViTEncoderBlock  # it has no public name

    same = ViTEncoderBlock(
        num_heads=block.num_heads,
        hidden_dim=block.hidden_dim,
        mlp_dim=block.intermediate_dim,
        use_mha_bias=block.use_mha_bias,
        attention_dropout=block.attention_dropout,
        layer_norm_epsilon=block.layer_norm_epsilon,
        name=block.name,
    )
    mend_saving([same])
    called = same(tokens)
    pairs = (
        (same.layer_norm_1, block.layer_norm_1),
        (same.mha, block.mha),
        (same.layer_norm_2, block.layer_norm_2),
        (same.mlp.dense_1, block.mlp.dense),
        (same.mlp.dense_2, block.output_layer.dense),
    )
    for new, old in pairs:
        new.set_weights(old.get_weights())
    return called


def _half_by_half(block: Any, tokens: Any) -> Any:
    def again(layer: Any, *tensors: Any) -> Any:
        return _again(layer, f"{block.name}_{layer.name}", *tensors)

    normed = again(block.layer_norm_1, tokens)
    tokens = keras.layers.Add(name=f"{block.name}_attended")(
        [again(block.mha, normed, normed), tokens]
    )
    hidden = again(block.mlp.dense, again(block.layer_norm_2, tokens))
    hidden = again(block.output_layer.dropout, again(block.output_layer.dense, hidden))
    return keras.layers.Add(name=f"{block.name}_added")([hidden, tokens])


def _expanded_swin(network: keras.Model) -> keras.Model:
    """Expand Swin's embedding and stages: their configurations hold classes, which none reads."""
    embedding, images = network.patch_embedding, network.inputs[0]
    tokens = keras.layers.Reshape((-1, embedding.embed_dim))(embedding.proj(images))
    if embedding.norm:
        tokens = _again(embedding.norm, "patch_embedding_norm", tokens)
    tokens = network.get_layer("pos_drop")(tokens)
    for stage in network.stages:
        for number, block in enumerate(stage.blocks):
            tokens = _again(block, f"{stage.name}_block_{number}", tokens)
        if stage.downsample is not None:
            height, width = stage.input_resolution
            merged = f"{stage.name}_downsample"
            tokens = _again(stage.downsample, merged, tokens, H=height, W=width)
    return keras.Model(images, _again(network.norm, "norm", tokens), name=network.name)


def _expanded_hgnet(network: keras.Model) -> keras.Model:
    encoder = network.encoder_layer
    features = [encoder.input]
    for stage in encoder.stages_list:
        features.append(stage(features[-1]))
    named = dict(zip(network.stage_names, features, strict=True))
    kept = {name: named[name] for name in named if name in network.out_features}
    mend_saving(encoder.stages_list)
    return keras.Model(network.inputs, kept, name=network.name)


def _expanded_dinov2(network: keras.Model) -> keras.Model:
    images, encoder = network.inputs[0], network.encoder
    mend_saving(encoder.layers)
    tokens = _with_own_grid(network.embeddings, images)
    for layer in encoder.layers:
        tokens = layer(tokens)
    return keras.Model(images, network.layernorm(tokens), name=network.name)


def _expanded_dinov3(network: keras.Model) -> keras.Model:
    """Expand DINOv3's blocks, each of which computes for itself where the patches lie.

    That depends on the size of the images alone, but given to every block it would be a second
    tensor in every cut.
    """
    mend_saving(network.encoder.layers)
    images, registers = network.inputs[0], network.num_register_tokens
    grid = tuple(each // network.patch_size for each in images.shape[1:3])
    tokens = network.embeddings(images)
    for layer in network.encoder.layers:
        rotation = _rotation(network.rope_embedding, f"{layer.name}_rotation")
        positions = rotation(_map_like(grid, tokens, layer.name))
        tokens = layer(tokens, position_embeddings=positions, num_prefix_tokens=1 + registers)
    return keras.Model(images, network.layernorm(tokens), name=network.name)


def _map_like(grid: tuple[int, int], tokens: Any, name: str) -> Any:
    """Return any map of height and width, made of tokens: nothing else of it is looked at.

    Not of the tokens in their order: how many there are the embedding declares for squares alone
    (keras-hub 0.32), and positions are computed only for a size that is known.
    """
    mean = keras.layers.GlobalAveragePooling1D(name=f"{name}_mean")(tokens)
    repeated = keras.layers.RepeatVector(math.prod(grid), name=f"{name}_repeated")(mean)
    return keras.layers.Reshape((*grid, mean.shape[-1]), name=f"{name}_map")(repeated)


def _rotation(rope: Any, name: str) -> Any:
    """Return the same positions for a map with a pixel for each patch."""
    mend_saving([rope])
    made = type(rope).from_config({**rope.get_config(), "patch_size": 1, "name": name})
    mend_saving([made])
    return made


def _with_own_grid(embedding: Any, images: Any) -> Any:
    """Call a copy of DINOv2's embedding whose positions are for images of the size they have.

    What it saves are the positions for 518 px, to which it resizes what it has learned for another
    size, and back when they are loaded: both lose some.
    """
    config = {**embedding.get_config(), "position_embedding_shape": embedding.image_shape}
    copy = type(embedding).from_config(config)
    tokens = copy(images)
    mend_saving([copy])
    for new, old in zip(copy.weights, embedding.weights, strict=True):
        resized = old is embedding.position_embeddings
        new.assign(embedding.interpolated_position_embeddings if resized else old)
    return tokens


def _again(layer: Any, name: str, *tensors: Any, **options: Any) -> Any:
    """Call a copy of a layer under another name: in a graph, names must differ."""
    mend_saving([layer])
    copy = type(layer).from_config({**layer.get_config(), "name": name})
    called = copy(*tensors, **options)
    copy.set_weights(layer.get_weights())
    return called


def deepest(outputs: Any, images: Any, name: str) -> tuple[Any, tuple[str, ...]]:
    """Return the output of a backbone that features are read of: of several maps the coarsest.

    Args:
        outputs: one tensor, or a dict of feature maps (HGNetV2, RetinaNet).
        images: the input, `(batch, height, width, 3)`.
        name: the backbone's name, for messages.

    Returns:
        A tensor, and a note if there was a choice.

    Raises:
        InputError: several outputs, and not all are feature maps; or none is coarser than the
            images (BASNet).
    """
    if isinstance(outputs, keras.KerasTensor):
        return outputs, ()
    found = outputs if isinstance(outputs, dict) else dict(enumerate(outputs))
    shapes = {key: tuple(getattr(each, "shape", ())) for key, each in found.items()}
    maps = all(len(shape) == 4 and None not in shape[1:] for shape in shapes.values())
    if not maps or all(shape[1:3] == tuple(images.shape[1:3]) for shape in shapes.values()):
        raise InputError(
            f"{name} returns {len(found)} outputs that are no feature maps to choose from "
            f"({', '.join(map(str, found))}): give the network in it that reads the images"
        )
    # Of several of one size the last: a stage without downsampling follows on the one before it.
    key = min(reversed(shapes), key=lambda each: math.prod(shapes[each][1:3]))
    # One operation with one output, by which a saved run finds the end of the backbone again.
    feature_map = keras.layers.Identity(name=f"features_{key}")(found[key])
    return feature_map, (
        f"{name} returns {len(found)} feature maps ({', '.join(map(str, found))}): features are "
        f"read of {key!r}, the deepest, {shapes[key][1:]}",
    )
