"""Model definitions as ArcGIS writes them, for tests."""

ROAD = {"Value": 1, "Name": "Road", "Color": [255, 0, 0]}
RIVER = {"Value": 2, "Name": "River", "Color": [0, 0, 255]}


def definition(**changes):
    """Of a U-Net for two classes; None takes a key out."""
    found = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelConfiguration": "_unet",
        "ModelType": "ImageClassification",
        "InferenceFunction": "ArcGISImageClassifier.py",
        "ModelName": "UnetClassifier",
        "ModelParameters": {"backbone": "resnet18", "backend": "pytorch"},
        "ModelFile": "model.pth",
        "ImageHeight": 224,
        "ImageWidth": 224,
        "ExtractBands": [0, 1, 2],
        "Classes": [ROAD, RIVER],
        "IsMultispectral": False,
        "ArcGISLearnVersion": "2.4.4",
        "MinCellSize": {"x": 0.3, "y": 0.3, "spatialReference": {"wkid": 32615, "latestWkid": 32615}},
        "accuracy": "9.5355e-01",
        "per_class_metrics": '{"NoData": {"precision": 0, "recall": 0, "f1": 0}, "Road": {"precision": 0.5, "recall": 0.25, "f1": 0.3}}',
    }
    return {key: value for key, value in (found | changes).items() if value is not None}


ROADS = {
    "ModelName": "MultiTaskRoadExtractor",
    "ModelConfiguration": "_road_infrencing",
    "ModelParameters": {"backbone": "resnet18", "mtl_model": "linknet"},
    "RoadOrientation": {"orient_bin_size": 20, "orient_theta": 8.0},
    "Classes": [{"Value": 1, "Name": 1, "Color": [-1, -1, -1]}],
    "per_class_metrics": None,
}

OBJECTS = {"per_class_metrics": None, "Classes": [RIVER, ROAD]}
"""Sorted by name, as ArcGIS does where there is no class for each pixel."""
MASKS = OBJECTS | {
    "ModelName": "MaskRCNN",
    "ModelConfiguration": "_maskrcnn_inferencing",
    "ModelType": "InstanceDetection",
    "ModelParameters": {"backbone": "resnet18", "backend": "pytorch", "pointrend": False},
    "MaskRCNNkwargs": {},
}
SSD = OBJECTS | {
    "ModelName": "SingleShotDetector",
    "ModelConfiguration": "_DynamicSSD",
    "ModelType": "ObjectDetection",
    "ModelParameters": {"backend": "pytorch"},
    "backbone": "resnet18",
    "Grids": [4, 2],
    "Zooms": [0.7, 1.0],
    "Ratios": [[1.0, 1.0], [1.0, 0.5]],
    "SSDVersion": 2,
}
RETINA = OBJECTS | {
    "ModelName": "RetinaNet",
    "ModelConfiguration": "_RetinaNet_Inference",
    "ModelType": "ObjectDetection",
    "ModelParameters": {"backbone": "resnet18", "backend": "pytorch", "scales": [1, 0.5], "ratios": [0.5, 1, 2]},
}
SCENES = OBJECTS | {
    "ModelName": "FeatureClassifier",
    "ModelConfiguration": "_FeatureClassifier",
    "ModelType": "ObjectClassification",
    "MetaDataMode": "Labeled_Tiles",
    "CropSizeFixed": 1,
    "BlackenAroundFeature": 0,
}
