"""Whether the data are as they should be: checks of each batch, volumes, drift, the age of the model."""
