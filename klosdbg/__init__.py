"""The debugger for operating systems that live by x86 segmentation."""
