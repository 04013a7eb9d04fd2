"""`python -m mindspore_serving`, the same as `mindspore-serving`."""

from mindspore_serving.cli.app import main

if __name__ == "__main__":
    main()
