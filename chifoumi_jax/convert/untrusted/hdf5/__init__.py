"""Reads the part of HDF5 that Keras writes, from untrusted files.

This reader exists because the HDF5 library trusts the file. Keras files with randomly changed bytes
in their structure were opened with h5py on HDF5 1.14:

- 7 of 10,000 files made it run for ever, for example because a group's list contained a cycle;
- 2 of 60,000 files made it allocate 2 GiB because of one changed word.

HDF5 also offers features that a weights file never needs: links into other files, raw data in other
files, several names for one object, and compression to any ratio. Keras uses few features, and h5py
from version 2.8 to 3.16 (with HDF5 2.0) still writes the first file format. This package reads only
that subset: every member of a group is a plain one with one name, and every dataset is in the file.

Source: the HDF5 File Format Specification, version 3.0, for superblocks of version 0.
"""
