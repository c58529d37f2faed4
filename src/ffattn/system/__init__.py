"""What the machine and the operating system give: ranks, files, memory, denormals, versions."""
