"""Times volatility3's layer of an x86-64 machine: image and CR3 are arguments,
each line of input is a request, each line of output is nanoseconds of CPU time
for each item, and how many items there were."""

import pathlib
import random
import sys
import time

from volatility3.framework import contexts
from volatility3.framework.layers import elf, intel, physical

image, cr3 = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2], 16)
context = contexts.Context()
context.config["file.location"] = image.as_uri()
context.add_layer(physical.FileLayer(context, "file", "file"))
context.config["core.base_layer"] = "file"
context.add_layer(elf.Elf64Layer(context, "core", "core"))
context.config["space.memory_layer"] = "core"
context.config["space.page_map_offset"] = cr3
layer = intel.Intel32e(context, "space", "space")


def runs():
    return layer.mapping(0, layer.maximum_address, ignore_errors=True)


def first_pages():
    some = [start + (length - 1 & ~4095) * at // 2 for start, length, *_ in runs() for at in range(3)]
    random.Random(1).shuffle(some)
    return [page for page in some if layer.is_valid(page)]


pages = first_pages()
for request in sys.stdin:
    begin = time.thread_time_ns()
    if request == "mapping\n":
        for _ in runs():
            pass
        count = 1
    else:
        for page in pages:
            layer.translate(page)
        count = len(pages)
    print((time.thread_time_ns() - begin) / count, count, flush=True)
