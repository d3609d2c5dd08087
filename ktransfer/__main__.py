"""`python -m ktransfer` is the command `ktransfer`."""

from ktransfer.cli import main

if __name__ == "__main__":
    main(prog_name="ktransfer")
