"""LoRA and the files of peft."""
