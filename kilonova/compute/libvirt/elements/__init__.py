"""The parts of a guest's domain XML, each a pure function that adds its elements to a domain.

Source of the elements: libvirt's "Domain XML format". Text and attributes are always given to the tree as
values, never pasted into XML.
"""
