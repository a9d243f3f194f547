"""Checkpoints of transformers with two small layers, saved to a folder."""

from __future__ import annotations

from pathlib import Path

import torch

TRANSFORMER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
CONVOLUTIONS = {
    "conv_dim": (16, 16),
    "conv_kernel": (10, 4),
    "conv_stride": (5, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


def checkpoint(folder: Path, kind: str, *, seed: int = 0, rate: int = 16_000, mask: bool = True) -> Path:
    """Save a model of `kind` with random weights and its feature extractor.

    Parameters
    ----------
    kind : {"wav2vec2", "hubert", "wavlm", "data2vec", "whisper", "ast", "clap"}
    rate : int
        Hz.
    mask : bool
        Of the waveform models: layer norm and attention masks, or group norm and none.
    """
    import transformers as hf

    torch.manual_seed(seed)
    norm = {"feat_extract_norm": "layer" if mask else "group", "do_stable_layer_norm": mask}
    waves = {**TRANSFORMER, **CONVOLUTIONS, **norm}
    extractor = hf.Wav2Vec2FeatureExtractor(sampling_rate=rate, return_attention_mask=mask)
    if kind == "wav2vec2":
        model = hf.Wav2Vec2Model(hf.Wav2Vec2Config(**waves))
    elif kind == "hubert":
        model = hf.HubertModel(hf.HubertConfig(**waves))
    elif kind == "wavlm":
        model = hf.WavLMModel(hf.WavLMConfig(**waves))
    elif kind == "data2vec":
        own = {**waves, "num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 3}
        del own["feat_extract_norm"], own["do_stable_layer_norm"]
        model = hf.Data2VecAudioModel(hf.Data2VecAudioConfig(**own))
    elif kind == "whisper":
        extractor = hf.WhisperFeatureExtractor(feature_size=16, sampling_rate=rate, chunk_length=1)
        model = hf.WhisperModel(
            hf.WhisperConfig(
                vocab_size=20,
                num_mel_bins=16,
                d_model=16,
                encoder_layers=2,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=24,
                decoder_ffn_dim=24,
                max_source_positions=50,
                max_target_positions=8,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
                decoder_start_token_id=1,
            )
        )
    elif kind == "ast":
        extractor = hf.ASTFeatureExtractor(num_mel_bins=32, max_length=64, sampling_rate=rate)
        model = hf.ASTModel(hf.ASTConfig(**TRANSFORMER, num_mel_bins=32, max_length=64))
    elif kind == "clap":
        extractor = hf.ClapFeatureExtractor(
            feature_size=32,
            sampling_rate=rate,
            max_length_s=1,
            hop_length=160,
            fft_window_size=512,
            frequency_max=8000,
            truncation="rand_trunc",
        )
        audio = {
            "num_mel_bins": 32,
            "spec_size": 64,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "hidden_size": 32,
            "patch_embeds_hidden_size": 16,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "window_size": 4,
            "projection_dim": 12,
        }
        text = {**TRANSFORMER, "vocab_size": 20, "max_position_embeddings": 12, "projection_dim": 12}
        config = hf.ClapConfig(
            audio_config=hf.ClapAudioConfig(**audio).to_dict(),
            text_config=hf.ClapTextConfig(**text).to_dict(),
            projection_dim=12,
        )
        model = hf.ClapModel(config)
    else:
        raise ValueError(kind)
    model.eval().save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder
