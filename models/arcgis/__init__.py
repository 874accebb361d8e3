"""Models as ArcGIS keeps them: model definitions (.emd), packages (.dlpk) and the networks in them, rebuilt from their layouts."""
