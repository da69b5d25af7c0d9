"""What klosdbg answers to each case of ``tests/cases``, in the words of the cases."""
