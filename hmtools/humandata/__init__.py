"""The HumanData contract: the record and its Arrow schemas, keys, keypoint conventions, checks, manifest."""
