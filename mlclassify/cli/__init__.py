"""The commands of ``mlclassify``: what each one does stands in a module that it alone imports."""
