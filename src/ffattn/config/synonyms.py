"""What Lightning, its Hydra template and other libraries call our settings: the answer to a key that is theirs."""

from collections.abc import Collection

# a key, or its last parts -> ours: the first that the command has
SYNONYMS = {
    "epochs": "updates",
    "max_epochs": "updates",
    "max_iter": "updates",
    "max_steps": "updates",
    "n_epochs": "updates",
    "num_epochs": "updates",
    "num_train_epochs": "updates",
    "num_steps": "updates",
    "seq_len": "T",
    "sequence_length": "T",
    "max_length": "T",
    "random_state": "seed",
    "manual_seed": "seed",
    "learning_rate": "optim.lr",
    "model.lr": "optim.lr",
    "model.optimizer.lr": "optim.lr",
    "model.optimizer": "optim",
    "optimizer": "optim",
    "model.optimizer.weight_decay": "optim.weight_decay",
    "lr_scheduler": "optim.schedule",
    "scheduler": "optim.schedule",
    "warmup_steps": "optim.warmup",
    "val_check_interval": "trainer.validate_every",
    "check_val_every_n_epoch": "trainer.validate_every",
    "eval_every": "trainer.validate_every",
    "eval_steps": "trainer.validate_every",
    "limit_val_batches": "trainer.sequences",
    "limit_test_batches": "trainer.sequences",
    "accumulate_grad_batches": "trainer.accumulate",
    "gradient_accumulation_steps": "trainer.accumulate",
    "gradient_clip_val": "trainer.gradient_clip",
    "max_grad_norm": "trainer.gradient_clip",
    "clip_grad_norm": "trainer.gradient_clip",
    "grad_clip": "trainer.gradient_clip",
    "overfit_batches": "trainer.distinct_batches",
    "log_every_n_steps": "trainer.log_every",
    "logging_steps": "trainer.log_every",
    "enable_progress_bar": "trainer.progress",
    "early_stopping": "trainer.patience",
    "early_stopping_patience": "trainer.patience",
    "devices": "accelerator.devices",
    "gpus": "accelerator.devices",
    "num_devices": "accelerator.devices",
    "nproc_per_node": "accelerator.devices",
    "nnodes": "accelerator.num_nodes",
    "strategy": "accelerator",
    "device": "accelerator",
    "ckpt_path": "resume checkpoint",
    "resume_from_checkpoint": "resume checkpoint",
    "resume_from": "resume",
    "checkpoint_path": "checkpoint",
    "pretrained": "init_from",
    "default_root_dir": "hydra.run.dir",
    "output_dir": "hydra.run.dir",
    "save_dir": "hydra.run.dir",
    "log_dir": "hydra.run.dir",
    "paths.output_dir": "hydra.run.dir",
    "data": "task",
    "datamodule": "task",
    "dataset": "task",
    "hidden_size": "model.hidden",
    "hidden_dim": "model.hidden",
    "d_model": "model.hidden",
    "units": "model.hidden",
}
_UNITS = {  # that differ from theirs
    "updates": "optimiser steps",
    "trainer.validate_every": "updates",
    "trainer.sequences": "sequences",
    "trainer.patience": "validations",
}
_ALWAYS = "hydra.run.dir"  # of every command; it is no setting of ours


def synonym(key: str, known: Collection[str]) -> str | None:
    """Return our key for a setting, with its unit where it is another, by others' name for it; None if it is nobody's.

    Args:
        key: What was given, which is no key here.
        known: Our keys.
    """
    ours = {*known, _ALWAYS}
    parts = key.split(".")
    shorter = (".".join(parts[first:]) for first in range(len(parts)))
    meant = next((SYNONYMS[name] for name in shorter if name in SYNONYMS), "")
    found = next((name for name in meant.split() if name in ours), None)
    return f"{found}, in {_UNITS[found]}" if found in _UNITS else found
