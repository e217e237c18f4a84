"""A reader of the part of HDF5 that Keras writes, for files that nobody has checked.

It exists because the HDF5 library trusts what it reads. Files of Keras, some bytes of whose
structure were changed at random, were opened with h5py on HDF5 1.14:

- it never returned from 7 of 10,000 files; a group whose list leads in a circle is one way to that;
- it allocated 2 GiB for one changed word in 2 of 60,000 files.

HDF5 also offers what a file of weights never needs: links into other files, raw data in other
files, one object under many names, storage that unpacks to any size. Keras uses little of it, and
h5py from version 2.8 to 3.16 (with HDF5 2.0) writes the same first format. This package reads that
little: every member of a group is a plain one with one name, and every data set lies in the file.

Source: the HDF5 File Format Specification, version 3.0, for superblocks of version 0.
"""
